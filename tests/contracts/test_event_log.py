"""What `EventLog` promises, in memory and in PostgreSQL."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from src.state.errors import DuplicateEvent, DurableTierUnavailable, UnfitEvent
from src.state.guards import Guards
from src.state.models import Claim, Event, Held, Version
from src.state.protocols import PAGE
from tests.contracts.conftest import Durable
from tests.support.kinds import BEGAN, claim, notebook, of_schema, written

ME = "server-a"


async def acquired(durable: Durable, id: str) -> Held:
    held = await durable.ownership().acquire(ME, id, create=True)
    assert isinstance(held, Held)
    return held


async def test_appended_events_come_back_exactly(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    sent = claim("n", epoch, 0, "one", "two")
    assert await log.append(ME, [sent]) == {"n"}
    assert tuple(await log.tail("n", 1)) == sent.events


async def test_claims_of_one_batch_go_in_together(durable: Durable) -> None:
    claims = [claim(id, (await acquired(durable, id)).epoch, 0, id) for id in "abc"]
    assert await durable.log().append(ME, claims) == {"a", "b", "c"}


async def test_body_may_be_any_bytes(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    event = Event("n", Version(epoch, 1), "k:0", "written", 1, b"\x00\xff", "ada", BEGAN)
    await durable.log().append(ME, [Claim("n", epoch, 0, (event,))])
    assert (await durable.log().tail("n", 1))[0].body == b"\x00\xff"


@pytest.mark.parametrize(
    ("server_id", "older_epoch", "base"),
    [("server-b", 0, 0), (ME, 1, 0), (ME, 0, 1)],
    ids=["not the owner", "an older epoch", "another seq"],
)
async def test_claim_that_does_not_stand_matches_nothing(
    durable: Durable, server_id: str, older_epoch: int, base: int
) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    assert await log.append(server_id, [claim("n", epoch - older_epoch, base, "x")]) == frozenset()
    assert await log.tail("n", 1) == []


async def test_claim_of_an_unknown_aggregate_matches_nothing(durable: Durable) -> None:
    assert await durable.log().append(ME, [claim("nobody", 1, 0, "x")]) == frozenset()


async def test_claim_that_stands_goes_in_beside_one_that_does_not(durable: Durable) -> None:
    epoch = (await acquired(durable, "good")).epoch
    old = (await acquired(durable, "lost")).epoch
    await durable.ownership().acquire(ME, "lost", create=False)
    log = durable.log()
    taken = await log.append(ME, [claim("lost", old, 0, "x"), claim("good", epoch, 0, "y")])
    assert taken == {"good"}
    assert await log.tail("lost", 1) == []


async def test_seq_stays_dense(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    await log.append(ME, [claim("n", epoch, 0, "one", "two")])
    assert await log.append(ME, [claim("n", epoch, 3, "hole")]) == frozenset()
    await log.append(ME, [claim("n", epoch, 2, "three")])
    assert [event.version.seq for event in await log.tail("n", 1)] == [1, 2, 3]


async def test_same_claim_twice_goes_in_once(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log, sent = durable.log(), claim("n", epoch, 0, "one")
    answers = await asyncio.gather(log.append(ME, [sent]), log.append(ME, [sent]))
    assert sorted(map(len, answers)) == [0, 1]


async def test_repeated_event_id_refuses_the_whole_batch(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    other = (await acquired(durable, "other")).epoch
    log = durable.log()
    await log.append(ME, [Claim("n", epoch, 0, (written("n", epoch, 1, key="k"),))])
    repeat = Claim("n", epoch, 1, (written("n", epoch, 2, key="k"),))
    with pytest.raises(DuplicateEvent):
        await log.append(ME, [claim("other", other, 0, "y"), repeat])
    assert await log.tail("other", 1) == []
    assert len(await log.tail("n", 1)) == 1


async def test_event_id_twice_in_one_claim_is_a_repeat(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    twice = (written("n", epoch, 1, key="k"), written("n", epoch, 2, key="k"))
    with pytest.raises(DuplicateEvent):
        await durable.log().append(ME, [Claim("n", epoch, 0, twice)])


async def test_event_id_of_another_aggregate_is_no_repeat(durable: Durable) -> None:
    log = durable.log()
    for id in ("a", "b"):
        epoch = (await acquired(durable, id)).epoch
        event = written(id, epoch, 1, key="same")
        assert await log.append(ME, [Claim(id, epoch, 0, (event,))]) == {id}


async def test_repeat_in_a_claim_that_does_not_stand_is_no_repeat(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log, sent = durable.log(), claim("n", epoch, 0, "one")
    await log.append(ME, [sent])
    assert await log.append(ME, [sent]) == frozenset()


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"], ids=["U+0000", "half a surrogate"])
async def test_event_that_never_fits_is_told_apart_from_an_outage(
    durable: Durable, text: str
) -> None:
    epoch = (await acquired(durable, "n")).epoch
    other = (await acquired(durable, "other")).epoch
    log = durable.log()
    with pytest.raises(UnfitEvent):
        await log.append(
            ME,
            [
                claim("other", other, 0, "y"),
                Claim("n", epoch, 0, (written("n", epoch, 1, key=text),)),
            ],
        )
    assert await log.tail("other", 1) == []
    assert await log.append(ME, [claim("other", other, 0, "y")]) == {"other"}


@pytest.mark.parametrize("text", ["plain", "a\x00b", "a\ud800b"])
async def test_quarantine_keeps_what_no_column_of_the_log_can(durable: Durable, text: str) -> None:
    event = written("n", 1, 1, key=text)
    await durable.log().quarantine([event], f"because of {text[:1]}")
    assert await durable.quarantined() == [(event.body, f"because of {text[:1]}")]
    # A caller who tries again under the same key adds nothing.
    await durable.log().quarantine([event], "again")
    assert len(await durable.quarantined()) == 1


async def test_switched_off_epoch_guard_lets_a_stranger_write(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log(guards=Guards(epoch=False))
    assert await log.append("stranger", [claim("n", epoch - 1, 0, "x")]) == {"n"}


@pytest.mark.parametrize("lines", [("x",), ("x", "y")], ids=["one event", "two events"])
async def test_switched_off_seq_guard_lets_a_claim_beyond_the_end_in(
    durable: Durable, lines: Sequence[str]
) -> None:
    epoch = (await acquired(durable, "n")).epoch
    beyond = claim("n", epoch, 4, *lines)
    assert await durable.log().append(ME, [beyond]) == frozenset()
    assert await durable.log(guards=Guards(seq=False)).append(ME, [beyond]) == {"n"}
    assert await durable.log().tail("n", 1) == list(beyond.events)


async def test_switched_off_whole_guard_lets_a_part_of_a_claim_in(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log(guards=Guards(whole=False))
    assert await log.append(ME, [claim("n", epoch, 0, "x")]) == {"n"}
    again = replace(claim("n", epoch, 0, "x").events[0], version=Version(epoch, 2))
    fresh = written("n", epoch, 3, "y")
    with pytest.raises(DuplicateEvent):
        await durable.log().append(ME, [Claim("n", epoch, 1, (again, fresh))])
    assert await log.append(ME, [Claim("n", epoch, 1, (again, fresh))]) == {"n"}
    assert [event.version.seq for event in await log.tail("n", 1)] == [1, 3]


async def test_switched_off_newer_guard_puts_an_older_snapshot_over_a_newer_one(
    durable: Durable,
) -> None:
    log = durable.log(guards=Guards(newer=False))
    for seq in (3, 2):
        await log.save([notebook("n", Version(7, seq), f"state {seq}")])
    snapshot, _ = await log.load("n")
    assert snapshot is not None
    assert snapshot.version == Version(7, 2)
    assert await durable.summary("n") == (2, "state 2")


async def test_find_gives_versions_of_what_is_in(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    await log.append(ME, [Claim("n", epoch, 0, (written("n", epoch, 1, key="k"),))])
    found = await log.find([("n", "k:0"), ("n", "k:1"), ("other", "k:0")])
    assert found == {("n", "k:0"): Version(epoch, 1)}


async def test_find_nothing(durable: Durable) -> None:
    assert await durable.log().find([]) == {}


async def test_load_of_nothing(durable: Durable) -> None:
    assert await durable.log().load("nobody") == (None, [])


async def test_load_without_a_snapshot_starts_at_one(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log, sent = durable.log(), claim("n", epoch, 0, "one", "two")
    await log.append(ME, [sent])
    assert await log.load("n") == (None, list(sent.events))


async def test_load_with_a_snapshot_starts_at_its_own_event(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log, sent = durable.log(), claim("n", epoch, 0, "one", "two", "three")
    await log.append(ME, [sent])
    await log.save([notebook("n", Version(epoch, 2), "one", "two")])
    snapshot, events = await log.load("n")
    assert snapshot is not None
    assert (snapshot.id, snapshot.version, snapshot.schema) == ("n", Version(epoch, 2), 2)
    assert snapshot.body == b'{"lines":["one","two"]}'
    assert events == list(sent.events[1:])


async def test_load_and_tail_come_in_pages(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    await log.append(ME, [claim("n", epoch, 0, *map(str, range(PAGE + 5)))])
    _, events = await log.load("n")
    assert [len(events), events[-1].version.seq] == [PAGE, PAGE]
    assert [e.version.seq for e in await log.tail("n", PAGE + 4)] == [PAGE + 4, PAGE + 5]
    assert [e.version.seq for e in await log.tail("n", 3, 2)] == [3, 4]


async def test_snapshot_is_replaced_by_a_newer_one_only(durable: Durable) -> None:
    log = durable.log()
    for seq in (1, 3, 2):
        await log.save([notebook("n", Version(7, seq), f"state {seq}")])
    snapshot, _ = await log.load("n")
    assert snapshot is not None
    assert snapshot.body == b'{"lines":["state 3"]}'
    assert await durable.summary("n") == (3, "state 3")


async def test_newer_epoch_beats_a_higher_seq(durable: Durable) -> None:
    log = durable.log()
    await log.save([notebook("n", Version(7, 9), "lost branch")])
    await log.save([notebook("n", Version(8, 5), "the history")])
    snapshot, _ = await log.load("n")
    assert snapshot is not None
    assert snapshot.version == Version(8, 5)


async def test_older_release_does_not_write_over_a_newer_schema(durable: Durable) -> None:
    await durable.log(of_schema(3)).save([notebook("n", Version(7, 1), "new")])
    await durable.log(of_schema(2)).save([notebook("n", Version(7, 2), "old")])
    snapshot, _ = await durable.log().load("n")
    assert snapshot is not None
    assert (snapshot.schema, snapshot.version) == (3, Version(7, 1))


async def test_many_snapshots_in_one_save(durable: Durable) -> None:
    log = durable.log()
    await log.save([notebook(f"n{i}", Version(1, i + 1), str(i)) for i in range(100)])
    assert [await durable.summary(f"n{i}") for i in (0, 99)] == [(1, "0"), (100, "99")]


async def test_gone_names_the_versions_that_are_not_in_the_log(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    log = durable.log()
    await log.append(ME, [claim("n", epoch, 0, "one", "two")])
    there, beyond, other = Version(epoch, 2), Version(epoch, 3), Version(epoch - 1, 1)
    known = [("n", there), ("n", beyond), ("n", other), ("nowhere", there)]
    assert await log.gone(known) == {
        ("n", beyond): there,
        ("n", other): there,
        ("nowhere", there): Version(0, 0),
    }
    assert await log.gone([]) == {}


async def test_snapshots_of_another_timeline_are_not_saved(durable: Durable) -> None:
    now = (await durable.registry().pull(0)).timeline
    entry = notebook("n", Version(now << 32, 1), "one")
    with pytest.raises(DurableTierUnavailable):
        await durable.log(timeline=now + 1).save([entry])
    assert (await durable.log().load("n"))[0] is None
    await durable.log(timeline=now).save([entry])
    assert (await durable.log().load("n"))[0] is not None


async def test_no_answer_is_an_error_and_never_a_miss(durable: Durable) -> None:
    log = durable.log()
    await durable.switch_off()
    with pytest.raises(DurableTierUnavailable):
        await log.append(ME, [claim("n", 1, 0, "x")])
    with pytest.raises(DurableTierUnavailable):
        await log.find([("n", "k:0")])
    with pytest.raises(DurableTierUnavailable):
        await log.load("n")
    with pytest.raises(DurableTierUnavailable):
        await log.tail("n", 1)
    with pytest.raises(DurableTierUnavailable):
        await log.save([notebook("n", Version(1, 1), "x")])


async def test_tail_ends_with_the_event_that_passes_the_bytes_asked_for(durable: Durable) -> None:
    epoch = (await acquired(durable, "n")).epoch
    sizes = (3, 70_000, 5, 2, 4)
    bodies = [b"x" * size for size in sizes]
    events = tuple(
        replace(written("n", epoch, seq, key=f"k-{seq}"), body=body)
        for seq, body in enumerate(bodies, 1)
    )
    log = durable.log()
    await log.append(ME, [Claim("n", epoch, 0, events)])
    asked = [(1, 9, 0), (1, 9, 2), (1, 9, 3), (2, 9, 70_000), (2, 9, 1 << 20), (3, 2, 7), (3, 3, 7)]
    pages = [
        [event.version.seq for event in await log.tail("n", start, limit, size)]
        for start, limit, size in asked
    ]
    assert pages == [[1], [1], [1, 2], [2, 3], [2, 3, 4, 5], [3, 4], [3, 4, 5]]
    assert [one.body for one in await log.tail("n", 1, 5, 1 << 20)] == bodies
