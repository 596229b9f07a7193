"""What `Eraser` promises, in memory and in PostgreSQL: only what a tombstone covers can go."""

from collections.abc import Sequence

from msgspec.structs import replace

from src.state.models import Claim, Event, Held, Version
from src.state.protocols import EventLog
from tests.contracts.conftest import Durable
from tests.support.kinds import written

ME = "server-a"
END = "deleted"


async def history(durable: Durable, id: str, *types: str) -> Sequence[Event]:
    """Log one event of each type and return them."""
    held = await durable.ownership().acquire(ME, id, create=True)
    assert isinstance(held, Held)
    events = tuple(
        replace(written(id, held.epoch, seq, key=f"k-{seq}"), type=type)
        for seq, type in enumerate(types, 1)
    )
    assert await durable.log().append(ME, [Claim(id, held.epoch, 0, events)]) == {id}
    return events


async def seqs(log: EventLog, id: str) -> list[int]:
    return [event.version.seq for event in await log.tail(id, 1)]


async def test_all_but_the_tombstone_goes(durable: Durable) -> None:
    events = await history(durable, "n", "written", "written", END)
    other = await history(durable, "other", "written", END)
    assert await durable.eraser(END).erase("n", events[-1].version) == 2
    assert list(await durable.log().tail("n", 1)) == [events[-1]]
    assert list(await durable.log().tail("other", 1)) == list(other)


async def test_erasing_again_finds_nothing_more(durable: Durable) -> None:
    events = await history(durable, "n", "written", END)
    eraser = durable.eraser(END)
    assert [await eraser.erase("n", events[-1].version) for _ in range(2)] == [1, 0]
    assert await seqs(durable.log(), "n") == [2]


async def test_history_longer_than_one_statement_takes_goes_as_a_whole(durable: Durable) -> None:
    events = await history(durable, "n", *["written"] * 4100, END)
    assert await durable.eraser(END).erase("n", events[-1].version) == 4100
    assert await seqs(durable.log(), "n") == [4101]


async def test_history_without_a_tombstone_is_not_touched(durable: Durable) -> None:
    events = await history(durable, "n", "written", "written")
    assert await durable.eraser(END).erase("n", events[-1].version) == 0
    assert await seqs(durable.log(), "n") == [1, 2]


async def test_tombstone_of_another_version_erases_nothing(durable: Durable) -> None:
    events = await history(durable, "n", "written", END)
    last = events[-1].version
    for version in (Version(last.epoch + 1, 2), Version(last.epoch, 1), Version(last.epoch, 3)):
        assert await durable.eraser(END).erase("n", version) == 0
    assert await seqs(durable.log(), "n") == [1, 2]


async def test_unknown_aggregate_is_nothing_to_erase(durable: Durable) -> None:
    assert await durable.eraser(END).erase("nobody", Version(1, 1)) == 0


async def test_what_is_quarantined_goes_too(durable: Durable) -> None:
    events = await history(durable, "n", "written", END)
    await durable.log().quarantine([written("n", 1, 9, key="bad")], "too odd")
    await durable.log().quarantine([written("other", 1, 9, key="bad")], "kept")
    await durable.eraser(END).erase("n", events[-1].version)
    assert [why for _, why in await durable.quarantined()] == ["kept"]


async def test_ids_of_erased_events_are_free_and_the_tombstones_is_not(durable: Durable) -> None:
    events = await history(durable, "n", "written", END)
    await durable.eraser(END).erase("n", events[-1].version)
    wanted = [("n", event.event_id) for event in events]
    assert set(await durable.log().find(wanted)) == {wanted[1]}


async def test_erased_events_are_not_lost_ones(durable: Durable) -> None:
    events = await history(durable, "n", "written", "written", END)
    await durable.eraser(END).erase("n", events[-1].version)
    first, branch = events[0].version, Version(events[0].version.epoch - 1, 3)
    gone = await durable.log().gone([("n", first), ("n", branch)])
    assert gone == {("n", branch): events[-1].version}
