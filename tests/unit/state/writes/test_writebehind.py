"""The write-behind buffer: late, together, and never lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from src.state.errors import DurableTierUnavailable, UnfitEvent
from src.state.guards import Guards
from src.state.models import Entry, Event, Version
from src.state.protocols import Snapshot
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_log import MemoryLog
from src.state.tiers.memory_shared import MemoryShared
from src.state.tiers.memory_space import MemorySpace
from src.state.writes.poison import Poison
from src.state.writes.pressure import Colour, Pressure
from src.state.writes.saver import Saver
from src.state.writes.writebehind import WriteBehind
from tests.support.clock import VirtualClock, VirtualLoop, advance, settle, virtual_time
from tests.support.cluster import Link
from tests.support.cluster_settings import settings
from tests.support.kinds import NOTEBOOKS, Notebook, notebook


class Lab:
    """A buffer over tiers in memory, and what it has saved."""

    def __init__(self, guards: Guards | None = None, **changes: Any) -> None:
        given = settings(**changes)
        self.clock = VirtualClock()
        self.pressure = Pressure(given, self.clock)
        self.database, self.space = MemoryDatabase(), MemorySpace()
        self.link = Link(self.database.trip, DurableTierUnavailable)
        self.shared = MemoryShared(self.space, Incarnations(), given, self.clock)
        self.saves: list[list[tuple[str, int]]] = []
        """What each transaction wrote: ids with their seq."""
        self.unfit: set[str] = set()
        self.stuck: set[str] = set()
        """Rows that never get an answer, whatever stands beside them."""
        self.too_many = 1 << 20
        """A transaction of more rows than this gets no answer in time."""
        self.buffered: list[list[str]] = []
        self.log = MemoryLog(NOTEBOOKS, self.database, trip=self.link.trip)
        log: Any = self
        self.poison = Poison(log, NOTEBOOKS.name)
        self.buffer: WriteBehind[Notebook] = WriteBehind(
            NOTEBOOKS,
            Saver(NOTEBOOKS, log, self.clock, self.poison),
            self.shared,
            given,
            self.clock,
            self.pressure,
            snapshot_of=self.snapshot_of,
            log_buffered=self.log_buffered,
            guards=guards or Guards(),
        )

    async def save(self, entries: Sequence[Entry[Any]]) -> None:
        if len(entries) > self.too_many:
            raise DurableTierUnavailable(f"{len(entries)} rows take too long")
        if stuck := self.stuck & {entry.id for entry in entries}:
            raise DurableTierUnavailable(f"{stuck} cannot be written now")
        if unfit := self.unfit & {entry.id for entry in entries}:
            raise UnfitEvent(f"{unfit} never fits")
        await self.log.save(entries)
        self.saves.append([(entry.id, entry.version.seq) for entry in entries])

    async def quarantine(self, events: Sequence[Event], why: str) -> None:
        await self.log.quarantine(events, why)

    def snapshot_of(self, entry: Entry[Notebook]) -> Snapshot:
        return Snapshot(entry.id, entry.version, 2, entry.body(NOTEBOOKS.encode_state))

    async def log_buffered(self, ids: Sequence[str]) -> None:
        self.buffered.append(list(ids))

    def mark(self, id: str, seq: int, events: int = 1, size: int = 10, held: int = 100) -> None:
        self.buffer.mark(notebook(id, Version(1, seq), f"state {seq}"), events, size, held)

    def snapshot(self, id: str) -> int | None:
        found = self.database.snapshots["snapshots"].get(id)
        return None if found is None else found.version.seq

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Lab"]:
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(self.buffer.run())
            yield self
            run.cancel()


def lab(guards: Guards | None = None, **changes: Any) -> Any:
    return Lab(guards, **changes).running()


# -- when ----------------------------------------------------------------------------------------


@virtual_time
async def test_change_is_written_two_seconds_after_the_last_one() -> None:
    async with lab() as it:
        it.mark("n", 1)
        await advance(1.5)
        it.mark("n", 2)
        await advance(1.9)
        assert it.saves == []
        await advance(0.2)
        assert it.saves == [[("n", 2)]]


@virtual_time
async def test_fifty_changes_make_one_snapshot() -> None:
    async with lab() as it:
        for seq in range(1, 51):
            it.mark("n", seq)
            await advance(0.03)
        await advance(3)
        assert it.saves == [[("n", 50)]]
        assert (it.buffer.flushes, it.buffer.snapshots, len(it.buffer)) == (1, 1, 0)


@virtual_time
async def test_busy_aggregate_is_written_five_seconds_after_its_first_change() -> None:
    async with lab() as it:
        for seq in range(1, 61):
            it.mark("n", seq)
            await advance(0.1)
        assert len(it.saves) == 1
        assert 48 <= it.saves[0][0][1] <= 51


@virtual_time
async def test_thousand_busy_aggregates_are_all_written_every_five_seconds() -> None:
    async with lab() as it:
        written = dict.fromkeys((f"n{i}" for i in range(1000)), 0.0)
        oldest = 0.0
        for seq in range(1, 81):
            for id in written:
                it.mark(id, seq)
            await advance(0.25)
            oldest = max(oldest, it.buffer.oldest_age_s())
        assert oldest <= 5.3
        times = [len([1 for save in it.saves for id, _ in save if id == name]) for name in written]
        assert min(times) >= 3
        assert max(times) <= 4


@pytest.mark.parametrize(("events", "size"), [(100, 1), (1, 6000)], ids=["events", "bytes"])
@virtual_time
async def test_much_is_written_at_once(events: int, size: int) -> None:
    async with lab(flush_max_events=500, flush_max_bytes=30_000) as it:
        for seq in range(1, 5):
            it.mark("n", seq, events, size)
            await settle()
        assert it.saves == []
        it.mark("n", 5, events, size)
        await advance(0.01)
        assert it.saves == [[("n", 5)]]


@virtual_time
async def test_quiet_aggregate_is_not_held_up_by_a_busy_one() -> None:
    async with lab() as it:
        it.mark("quiet", 1)
        for seq in range(1, 25):
            it.mark("busy", seq)
            await advance(0.1)
        assert it.saves == [[("quiet", 1)]]


@virtual_time
async def test_many_are_written_in_one_transaction() -> None:
    async with lab(flush_batch=64) as it:
        for i in range(200):
            it.mark(f"n{i}", 1)
        await advance(2.1)
        assert [len(save) for save in it.saves] == [64, 64, 64, 8]


@virtual_time
async def test_changes_that_come_one_by_one_are_written_several_at_a_time() -> None:
    """A hundred a second, as a thousand rooms make them: a transaction for each would cost most."""
    async with lab() as it:
        for i in range(400):
            it.mark(f"n{i}", 1)
            await advance(0.01)
        await advance(2.1)
        assert sum(len(save) for save in it.saves) == 400
        assert len(it.saves) <= 4 * 6


@virtual_time
async def test_change_is_written_with_others_when_nearly_due_and_not_long_before() -> None:
    async with lab() as it:
        it.mark("n1", 1)
        await advance(0.2)
        it.mark("n2", 1)
        await advance(0.1)
        it.mark("n3", 1)
        await advance(1.75)
        assert it.saves == [[("n1", 1), ("n2", 1)]]
        await advance(0.3)
        assert it.saves[1:] == [[("n3", 1)]]


@virtual_time
async def test_snapshot_reaches_l2_after_l3() -> None:
    async with lab() as it:
        it.mark("n", 1)
        await advance(2.1)
        copy = await it.shared.get("notebook", "n")
        assert copy is not None
        assert copy.snapshot.version.seq == 1


@virtual_time
async def test_switched_off_flush_writes_nothing() -> None:
    it = Lab(Guards(flush=False))
    run = asyncio.ensure_future(it.buffer.run())
    it.mark("n", 1)
    await advance(7)
    run.cancel()
    assert it.saves == []


# -- failures ------------------------------------------------------------------------------------


@virtual_time
async def test_failed_write_loses_nothing_and_is_tried_until_it_works() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.mark("m", 1)
        it.database.available = False
        await advance(60)
        assert (it.saves, len(it.buffer)) == ([], 2)
        assert it.buffer.oldest_age_s() >= 59
        it.mark("n", 2)
        it.database.available = True
        await advance(5)
        assert (it.snapshot("n"), it.snapshot("m"), len(it.buffer)) == (2, 1, 0)


@virtual_time
async def test_change_during_a_slow_write_is_written_afterwards() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.hold()
        await advance(2.1)
        it.mark("n", 2)
        assert len(it.buffer) >= 1
        it.link.release()
        await advance(3)
        assert it.saves == [[("n", 1)], [("n", 2)]]


@virtual_time
async def test_change_during_a_write_that_fails_is_written_with_it() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.hold()
        await advance(2.1)
        it.mark("n", 2)
        it.link.up = False
        it.link.release()
        await settle()
        assert len(it.buffer) == 1
        it.link.up = True
        await advance(5)
        assert it.snapshot("n") == 2
        assert len(it.buffer) == 0


@virtual_time
async def test_write_whose_answer_was_lost_is_repeated() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.lost_answers = 2
        await advance(10)
        assert (it.snapshot("n"), len(it.buffer)) == (1, 0)


@virtual_time
async def test_l2_away_keeps_nothing_dirty() -> None:
    async with lab() as it:
        it.space.available = False
        it.mark("n", 1)
        await advance(3)
        assert (it.snapshot("n"), len(it.buffer)) == (1, 0)


@virtual_time
async def test_state_that_never_fits_holds_nobody_else_up() -> None:
    """Its events are in the log; what is derived from them is left out, and the buffer lives."""
    async with lab() as it:
        it.unfit.add("n5")
        for i in range(20):
            it.mark(f"n{i}", 1)
        await advance(3)
        assert [i for i in range(20) if it.snapshot(f"n{i}") is None] == [5]
        it.mark("n7", 2)
        await advance(3)
        assert it.snapshot("n7") == 2


@virtual_time
async def test_state_that_never_fits_is_kept_for_an_operator_once() -> None:
    async with lab() as it:
        it.unfit.add("n1")
        for seq in (1, 2):
            for i in range(3):
                it.mark(f"n{i}", seq)
            await advance(3)
        (event, why), *others = it.database.quarantine
        assert (event.aggregate_id, event.type, event.version) == ("n1", "snapshot", Version(1, 1))
        assert event.body == b'{"lines":["state 1"]}'
        assert "never fits" in why
        assert others == []
        assert it.poison.quarantined == 2


@virtual_time
async def test_state_that_cannot_be_encoded_costs_nobody_else() -> None:
    """Half of a surrogate pair: no JSON can be made of it, for L3 or L2."""
    async with lab() as it:
        it.buffer.mark(notebook("n1", Version(1, 1), "\ud800"), 1, 10, 100)
        for i in (0, 2):
            it.mark(f"n{i}", 1)
        await advance(3)
        assert [it.snapshot(f"n{i}") for i in range(3)] == [1, None, 1]
        assert (len(it.buffer), it.pressure.held) == (0, 0)
        assert [event.aggregate_id for event, _ in it.database.quarantine] == ["n1"]
        it.mark("n0", 2)
        await advance(3)
        assert it.snapshot("n0") == 2


@virtual_time
async def test_cancelled_write_stays_dirty() -> None:
    it = Lab()
    run = asyncio.ensure_future(it.buffer.run())
    it.mark("n", 1)
    it.link.hold()
    await advance(2.1)
    run.cancel()
    await settle()
    assert len(it.buffer) == 1
    it.link.release()
    await it.buffer.flush_all()
    assert it.snapshot("n") == 1


@virtual_time
async def test_loop_that_is_cancelled_as_it_wakes_ends() -> None:
    it = Lab()
    run = asyncio.ensure_future(it.buffer.run())
    await settle()
    it.mark("n", 1)
    run.cancel()
    await settle()
    assert run.cancelled()


# -- under pressure ------------------------------------------------------------------------------


@virtual_time
async def test_flushes_grow_while_the_store_is_slow_and_shrink_again() -> None:
    async with lab(flush_batch=64, amber_late=1) as it:
        for i in range(3000):
            it.mark(f"n{i}", 1)
        it.link.delay_s = 3.0
        await advance(60)
        assert len(it.buffer) == 0
        sizes = [len(save) for save in it.saves]
        assert max(sizes) == 1024
        assert all(after <= 2 * before for before, after in pairwise(sizes))
        it.link.delay_s = 0.0
        for i in range(200):
            it.mark(f"m{i}", 1)
        await advance(3)
        assert [len(save) for save in it.saves[len(sizes) :]] == [64, 64, 64, 8]


@virtual_time
async def test_transaction_under_pressure_is_bounded_in_bytes() -> None:
    async with lab(amber_bytes=1024, red_bytes=1 << 30) as it:
        for i in range(200):
            it.mark(f"n{i}", 1, held=256 << 10)
        await advance(3)
        assert {len(save) for save in it.saves[:-1]} == {15}


@virtual_time
async def test_transaction_that_takes_too_long_is_tried_with_half_of_it() -> None:
    """A store that gives each transaction so much time takes the rows in smaller ones."""
    async with lab(flush_batch=64) as it:
        it.too_many = 20
        for i in range(200):
            it.mark(f"n{i}", 1)
        await advance(30)
        assert len(it.buffer) == 0
        assert max(len(save) for save in it.saves) <= 20


@virtual_time
async def test_row_that_gets_no_answer_holds_the_others_up_for_a_while_only() -> None:
    """A damaged page, or somebody's lock: no SQLSTATE says that it will be so for ever."""
    async with lab() as it:
        it.stuck.add("n0")
        for i in range(200):
            it.mark(f"n{i}", 1)
        await advance(40)
        assert [i for i in range(200) if it.snapshot(f"n{i}") is None] == [0]
        for seq in range(2, 30):
            it.mark("n7", seq)
            await advance(2)
        assert (it.snapshot("n7") or 0) > 20
        assert it.buffer.oldest_age_s() > 90
        # Nobody is refused for the sake of one row.
        assert it.pressure.see() is Colour.GREEN
        it.stuck.clear()
        await advance(10)
        assert (it.snapshot("n0"), len(it.buffer), it.pressure.held) == (1, 0, 0)


@virtual_time
async def test_pressed_buffer_waits_for_no_debounce() -> None:
    async with lab(amber_bytes=1024) as it:
        it.mark("n", 1, held=5000)
        it.mark("m", 1)
        await advance(0.1)
        assert it.saves == [[("n", 1), ("m", 1)]]


@virtual_time
async def test_waiter_is_told_when_what_it_waits_for_is_written() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.hold()
        await advance(2.1)
        it.mark("n", 2)
        waiting = asyncio.ensure_future(it.buffer.written("n", 60))
        await settle()
        it.link.up = False
        it.link.release()
        await advance(0.01)
        # The first write failed and was joined with the second change.
        assert not waiting.done()
        it.link.up = True
        await waiting
        assert it.snapshot("n") == 2
        await it.buffer.written("n", 60)


@virtual_time
async def test_waiter_without_patience_waits_for_nothing() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.hold()
        before = it.clock.monotonic()
        await it.buffer.written("n", 0.0)
        await it.buffer.written("never there", 60)
        assert it.clock.monotonic() == before
        await it.buffer.written("n", 1.5)
        assert it.clock.monotonic() == before + 1.5
        it.link.release()


@virtual_time
async def test_buffer_sleeps_until_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    monotonic = VirtualClock.monotonic

    def counted(self: VirtualClock) -> float:
        nonlocal looks
        looks += 1
        return monotonic(self)

    async with lab() as it:
        it.buffer.mark_buffered("n")
        it.mark("m", 1)
        monkeypatch.setattr(VirtualClock, "monotonic", counted)
        await advance(1.9)
        assert looks < 20


@virtual_time
async def test_waiter_for_what_was_forgotten_waits_no_longer() -> None:
    async with lab() as it:
        it.mark("n", 1)
        waiting = asyncio.ensure_future(it.buffer.written("n", 60))
        await settle()
        it.buffer.forget("n")
        await settle()
        assert waiting.done()


# -- what it says of itself ------------------------------------------------------------------------


@virtual_time
async def test_it_holds_what_is_dirty_or_buffered_and_owes_what_is_being_written_too() -> None:
    async with lab() as it:
        buffer = it.buffer
        it.mark("dirty", 1)
        buffer.mark_buffered("buffered")
        ids = ("dirty", "buffered", "other")
        assert [buffer.holds(id) for id in ids] == [True, True, False]
        assert [buffer.owes(id) for id in ids] == [True, True, False]
        it.link.hold()
        await advance(2.1)
        assert [buffer.holds(id) for id in ids] == [False, True, False]
        assert [buffer.owes(id) for id in ids] == [True, True, False]
        it.link.release()
        await settle()
        assert [buffer.owes(id) for id in ids] == [False, True, False]


@virtual_time
async def test_age_is_that_of_the_oldest_change_wherever_it_is() -> None:
    async with lab() as it:
        buffer = it.buffer
        assert buffer.oldest_age_s() == 0.0
        buffer.mark_buffered("buffered")
        await advance(1)
        it.mark("dirty", 1)
        await advance(0.5)
        assert buffer.oldest_age_s() == pytest.approx(1.5)
        buffer.forget("buffered")
        assert buffer.oldest_age_s() == pytest.approx(0.5)
        it.link.hold()
        await advance(2)
        it.mark("dirty", 2)
        assert buffer.oldest_age_s() == pytest.approx(2.5)
        it.link.release()
        await settle()
        assert buffer.oldest_age_s() == 0.0


@virtual_time
async def test_oldest_change_says_until_when_all_must_be_flushed() -> None:
    async with lab() as it:
        now = it.clock.monotonic()
        assert it.pressure.due_by == float("inf")
        it.mark("n", 1)
        assert it.pressure.due_by == now + 5
        await advance(1)
        it.mark("n", 2)
        it.mark("m", 1)
        assert it.pressure.due_by == now + 5
        it.buffer.forget("n")
        assert it.pressure.due_by == now + 6
        await it.buffer.flush_all()
        assert it.pressure.due_by == float("inf")


@virtual_time
async def test_however_slow_the_store_is_changes_are_gathered_for_half_the_longest_wait() -> None:
    it = Lab()
    for n in range(100):
        it.mark(f"n{n}", 1)
    it.buffer._pace.went_well(64, 6400.0, pressed=False)
    assert it.buffer._longest_s() == 2.5


@virtual_time
async def test_bytes_are_counted_once_for_each_that_is_dirty_and_for_each_buffered_change() -> None:
    async with lab() as it:
        it.mark("n", 1, held=100)
        it.mark("n", 2, held=150)
        it.mark("m", 1, held=10)
        assert it.pressure.held == 150 + 1024 + 10 + 1024
        it.buffer.mark_buffered("b", 7)
        it.buffer.mark_buffered("b", 8)
        assert it.pressure.held == 150 + 1024 + 10 + 1024 + 15
        it.mark("b", 1, held=20)
        assert it.pressure.held == 150 + 1024 + 10 + 1024 + 20 + 1024
        it.buffer.forget("m")
        assert it.pressure.held == 150 + 1024 + 20 + 1024
        await it.buffer.flush_all()
        assert (it.pressure.held, it.buffer.flushes, it.buffer.snapshots) == (0, 1, 2)


@virtual_time
async def test_failed_write_and_a_change_meanwhile_are_counted_as_one() -> None:
    async with lab() as it:
        assert (it.buffer.flushes, it.buffer.snapshots) == (0, 0)
        it.mark("n", 1, held=100)
        it.mark("m", 1, held=100)
        it.link.hold()
        await advance(2.1)
        it.mark("n", 2, held=200)
        assert it.pressure.held == 100 + 100 + 200 + 3 * 1024
        it.link.up = False
        it.link.release()
        await advance(0.01)
        assert (it.pressure.held, len(it.buffer)) == (200 + 100 + 2 * 1024, 2)
        it.link.up = True
        await advance(10)
        assert (it.pressure.held, len(it.buffer)) == (0, 0)
        assert it.snapshot("n") == 2


@virtual_time
async def test_all_is_forgotten_wherever_it_is() -> None:
    async with lab() as it:
        it.mark("flushing", 1)
        it.link.hold()
        await advance(2.1)
        it.mark("dirty", 1)
        it.buffer.mark_buffered("buffered", 5)
        it.buffer.forget_all()
        assert (len(it.buffer), it.pressure.held) == (0, 0)
        it.link.release()
        await advance(6)
        assert (it.snapshot("dirty"), it.buffered) == (None, [])


@virtual_time
async def test_what_was_lost_while_it_was_written_is_not_put_into_l2() -> None:
    async with lab() as it:
        it.mark("lost", 1)
        it.mark("kept", 1)
        it.link.hold()
        await advance(2.1)
        it.buffer.forget("lost")
        it.link.release()
        await settle()
        assert await it.shared.get("notebook", "lost") is None
        assert await it.shared.get("notebook", "kept") is not None


# -- everything now ------------------------------------------------------------------------------


@virtual_time
async def test_flush_of_everything_waits_for_nothing() -> None:
    async with lab() as it:
        for i in range(150):
            it.mark(f"n{i}", 1)
        await it.buffer.flush_all()
        assert len(it.buffer) == 0
        assert sum(map(len, it.saves)) == 150


@virtual_time
async def test_flush_of_everything_includes_what_is_being_written() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.link.hold()
        await advance(2.1)
        everything = asyncio.ensure_future(it.buffer.flush_all())
        await settle()
        assert not everything.done()
        it.link.release()
        await everything
        assert it.snapshot("n") == 1


@virtual_time
async def test_flush_of_some_passes_over_what_is_not_dirty() -> None:
    it = Lab()
    it.mark("n", 1)
    it.mark("m", 1)
    await it.buffer.flush(["never there", "n"])
    assert it.saves == [[("n", 1)]]


@virtual_time
async def test_row_that_failed_alone_once_keeps_its_place_and_loses_it_the_second_time() -> None:
    async with lab() as it:
        began = it.clock.monotonic()
        it.database.available = False
        it.mark("n", 1)
        # Each trip ends without the clock moving: the wait before the next may be of any length.
        it.link.hold()
        while it.link.trips < 1:
            await advance(0.01)
        it.link.release()
        await settle()
        assert it.pressure.due_by == began + 5
        it.link.hold()
        while it.link.trips < 2:
            await advance(0.01)
        it.link.release()
        await settle()
        assert it.pressure.due_by > began + 5
        it.database.available = True
        await advance(10)
        assert it.snapshot("n") == 1


@virtual_time
async def test_flush_of_everything_says_when_it_failed() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.database.available = False
        with pytest.raises(DurableTierUnavailable):
            await it.buffer.flush_all()
        assert len(it.buffer) == 1


@virtual_time
async def test_forgotten_aggregate_is_not_written() -> None:
    async with lab() as it:
        it.mark("n", 1)
        it.buffer.mark_buffered("n")
        it.buffer.forget("n")
        it.buffer.forget("never there")
        await advance(6)
        assert (it.saves, it.buffered, len(it.buffer)) == ([], [], 0)


# -- buffered changes ----------------------------------------------------------------------------


@virtual_time
async def test_buffered_changes_are_logged_two_seconds_after_the_first() -> None:
    async with lab() as it:
        it.buffer.mark_buffered("n")
        await advance(1)
        it.buffer.mark_buffered("n")
        it.buffer.mark_buffered("m")
        await advance(1.1)
        assert it.buffered == [["n"]]
        await advance(1)
        assert it.buffered == [["n"], ["m"]]


@virtual_time
async def test_flush_of_everything_logs_what_is_buffered() -> None:
    async with lab() as it:
        it.buffer.mark_buffered("n")
        await it.buffer.flush_all()
        assert it.buffered == [["n"]]


# -- against a model -----------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """Whatever happens: the newest state is dirty or saved, in time, and never older than saved."""

    ids = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.it = self.runner.run(self.make())
        self.run = self.runner.get_loop().create_task(self.it.buffer.run())
        self.newest: dict[str, int] = {}
        self.since: dict[str, float] = {}
        self.down = False

    async def make(self) -> Lab:
        return Lab(flush_max_events=5)

    def now(self) -> float:
        return self.runner.get_loop().time()

    def step(self, seconds: float) -> None:
        self.runner.run(advance(seconds))
        for id, seq in self.newest.items():
            if self.it.snapshot(id) == seq:
                self.since.pop(id, None)

    @rule(id=ids, events=st.integers(1, 4))
    def mark(self, id: str, events: int) -> None:
        self.newest[id] = self.newest.get(id, 0) + 1
        self.since.setdefault(id, self.now())

        async def mark() -> None:
            self.it.mark(id, self.newest[id], events)

        self.runner.run(mark())

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.9, 2.1, 6.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)

    @rule()
    def break_down(self) -> None:
        self.it.link.up, self.down = False, True

    @rule()
    def come_back(self) -> None:
        self.it.link.up = True
        # The longest pause between two tries, after which everything counts from now.
        self.step(2.5)
        self.down = False
        self.since = dict.fromkeys(self.since, self.now())

    @rule()
    def lose_an_answer(self) -> None:
        self.it.link.lost_answers = 1
        self.since = dict.fromkeys(self.since, self.now() + 2.5)

    @rule()
    def flush_everything(self) -> None:
        async def flush() -> None:
            try:
                await self.it.buffer.flush_all()
            except DurableTierUnavailable:
                return

        self.runner.run(flush())
        self.step(0.0)

    @invariant()
    def nothing_is_lost(self) -> None:
        dirty = set(self.it.buffer._by_first) | set(self.it.buffer._flushing)
        for id, seq in self.newest.items():
            assert self.it.snapshot(id) == seq or id in dirty

    @invariant()
    def both_orders_hold_the_same(self) -> None:
        buffer = self.it.buffer
        assert set(buffer._by_first) == set(buffer._by_last)
        firsts = [dirty.first for dirty in buffer._by_first.values()]
        lasts = [dirty.last for dirty in buffer._by_last.values()]
        assert (firsts, lasts) == (sorted(firsts), sorted(lasts))

    @invariant()
    def account_is_of_what_is_dirty(self) -> None:
        buffer, pressure = self.it.buffer, self.it.pressure
        dirty = [*buffer._by_first.values(), *buffer._flushing.values()]
        assert pressure.held == sum(one.held for one in dirty)
        oldest = min((one.first for one in dirty), default=float("inf"))
        assert pressure.due_by == oldest + 5

    @invariant()
    def nothing_waits_too_long(self) -> None:
        if not self.down:
            late = [id for id, since in self.since.items() if self.now() - since > 5.1]
            assert late == []

    def teardown(self) -> None:
        self.run.cancel()
        self.runner.close()


TestModel = Model.TestCase
TestModel.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
