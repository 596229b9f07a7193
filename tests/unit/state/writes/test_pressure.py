"""Backpressure: what makes a server amber or red, and what it then asks of its clients."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from src.state.errors import Overloaded
from src.state.models import Durability
from src.state.writes.pressure import Colour, Limits, Pressure, next_colour
from tests.support.clock import VirtualClock, advance, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.cluster_settings import settings

LIMITS = Limits(amber_late_s=4, red_late_s=20, amber_bytes=1000, red_bytes=2000)
GREEN, AMBER, RED = Colour

late = st.floats(-1e9, 100)
held = st.integers(0, 5000)


# -- the colour ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "late_s", "held", "after"),
    [
        (GREEN, float("-inf"), 0, GREEN),
        (GREEN, 3.9, 999, GREEN),
        (GREEN, 4, 0, AMBER),
        (GREEN, 0, 1000, AMBER),
        (GREEN, 20, 0, RED),
        (GREEN, 0, 2000, RED),
        (AMBER, 3.1, 0, AMBER),
        (AMBER, 2.9, 749, GREEN),
        (AMBER, 19.9, 1999, AMBER),
        (AMBER, 0, 2000, RED),
        (RED, 15.1, 0, RED),
        (RED, 0, 1501, RED),
        (RED, 14.9, 1499, AMBER),
        (RED, 0, 0, GREEN),
    ],
)
def test_colour_follows_from_lateness_and_bytes(
    before: Colour, late_s: float, held: int, after: Colour
) -> None:
    assert next_colour(before, late_s, held, LIMITS) is after


@given(before=st.sampled_from(Colour), late_s=late, held=held)
def test_colour_is_settled_at_the_first_look(before: Colour, late_s: float, held: int) -> None:
    """What stands still does not flap."""
    after = next_colour(before, late_s, held, LIMITS)
    assert next_colour(after, late_s, held, LIMITS) is after


@given(before=st.sampled_from(Colour), late_s=late, held=held, more=st.integers(0, 5000))
def test_more_is_never_a_lighter_colour(
    before: Colour, late_s: float, held: int, more: int
) -> None:
    less, much = (next_colour(before, late_s, size, LIMITS) for size in (held, held + more))
    assert less.level <= much.level


@given(swing=st.lists(st.integers(860, 1140), max_size=50))
def test_load_around_a_limit_changes_the_colour_once(swing: list[int]) -> None:
    colours = [GREEN]
    for size in swing:
        colours.append(next_colour(colours[-1], 0, size, LIMITS))
    assert colours == sorted(colours, key=lambda colour: colour.level)


# -- the account ---------------------------------------------------------------------------------


def pressure(**changes: Any) -> Pressure:
    return Pressure(settings(**changes), VirtualClock())


@virtual_time
async def test_nothing_is_let_in_beyond_the_bound() -> None:
    it = pressure(amber_bytes=1024, red_bytes=2048)
    it.held = 1500
    it.admit(548)
    assert (it.colour, it.refused) == (AMBER, 0)
    with pytest.raises(Overloaded, match="1500 bytes wait"):
        it.admit(549)
    assert it.refused == 1


@virtual_time
async def test_colour_is_taken_on_at_the_very_limit_and_told_once() -> None:
    late, full = pressure(), pressure()
    late.due_by = late._clock.monotonic() - late.limits.amber_late_s
    full.held = full.limits.amber_bytes
    with capture_logs() as logs:
        for it in (late, full):
            assert (it.see(), it.see()) == (AMBER, AMBER)
    assert [
        (line["event"], line["colour"], line["before"], line["late_s"], line["held_bytes"])
        for line in logs
    ] == [
        ("pressure.changed", "amber", "green", late.limits.amber_late_s, 0),
        ("pressure.changed", "amber", "green", 0.0, full.limits.amber_bytes),
    ]


@virtual_time
async def test_refusal_says_how_late_the_oldest_is() -> None:
    it = pressure(red_late=20, amber_late=5)
    it.due_by = it._clock.monotonic() - 25
    with pytest.raises(Overloaded, match="the oldest of them 25 s late"):
        it.admit(1)
    full = pressure(amber_bytes=1024, red_bytes=2048)
    full.held = 2048
    with pytest.raises(Overloaded, match="the oldest of them 0 s late"):
        full.admit(1)


@virtual_time
async def test_refusal_says_how_long_the_rest_will_take() -> None:
    it = pressure(amber_bytes=1024, red_bytes=4096)
    it.held = 4096
    assert it.retry_after_s() == 2
    it.flushed(1024, 8.0)
    assert it.retry_after_s() == pytest.approx(1024 / 128)
    # Each flush counts for a quarter.
    it.flushed(1024, 4.0)
    assert it.retry_after_s() == pytest.approx(1024 / 160)
    it.flushed(4096, 1.0)
    assert it.retry_after_s() == pytest.approx(1.0)
    it.flushed(1, 1000)
    it.held = 1 << 40
    assert it.retry_after_s() == 30


@virtual_time
async def test_what_is_too_late_must_go_altogether() -> None:
    it = pressure(red_late=20, amber_late=5)
    it.held, it.due_by = 1000, it._clock.monotonic() - 21
    it.flushed(100, 1.0)
    assert it.see() is RED
    assert it.retry_after_s() == 10


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"amber_late": timedelta(seconds=30)}, "SWARMSTATE_AMBER_LATE"),
        ({"amber_bytes": 1 << 30}, "SWARMSTATE_AMBER_BYTES"),
    ],
)
def test_limits_out_of_order_are_refused_at_start(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**changes)


# -- what it does to writers ---------------------------------------------------------------------


class Watch:
    """Notes each colour that a server takes on, and the most bytes it held."""

    def __init__(self, server: Server) -> None:
        self._pressure = server.notebooks.pressure
        self.colours = [self._pressure.colour]
        self.most = 0

    async def run(self) -> None:
        while True:
            colour = self._pressure.see()
            if colour is not self.colours[-1]:
                self.colours.append(colour)
            self.most = max(self.most, self._pressure.held)
            await asyncio.sleep(0.1)


class Writer:
    """Writes line after line to a notebook of its own, each under its key until it is acked."""

    def __init__(self, server: Server, id: str) -> None:
        self._server, self.id = server, id
        self.acked: list[str] = []
        self.waits: list[float] = []

    async def write(self, lines: int) -> None:
        while len(self.acked) < lines:
            line = f"{self.id} {len(self.acked)}"
            try:
                ack = await self._server.write(self.id, line)
            except Overloaded as error:
                self.waits.append(error.retry_after_s)
                await asyncio.sleep(error.retry_after_s)
                continue
            assert ack.version.seq == len(self.acked) + 1
            self.acked.append(line)


@virtual_time
async def test_ten_thousand_dirty_at_once_on_a_slow_store_lose_nothing() -> None:
    """Three seconds for each transaction: amber, then red, bounded, and green again."""
    cluster = Cluster(amber_late=3, red_late=12)
    async with cluster.open("a") as [a], asyncio.TaskGroup() as tasks:
        watch = Watch(a)
        watching = tasks.create_task(watch.run())
        writers = [Writer(a, f"n{number}") for number in range(10_000)]
        await asyncio.gather(*(writer.write(1) for writer in writers))
        assert len(a.notebooks.writebehind) == 10_000
        a.log_link.delay_s = 3.0
        flushes = a.notebooks.writebehind.flushes
        going = [tasks.create_task(writer.write(9)) for writer in writers[:200]]
        await asyncio.gather(*going)
        await advance(60)
        watching.cancel()
        assert watch.colours[:3] == [GREEN, AMBER, RED]
        assert watch.colours[-1] is GREEN
        # Red is left once or twice, not with every batch.
        assert len(watch.colours) <= 8
        assert watch.most <= a.notebooks.pressure.limits.red_bytes
        assert a.notebooks.writebehind.flushes - flushes < 60
        assert any(writer.waits for writer in writers)
        assert (len(a.notebooks.writebehind), a.notebooks.pressure.held) == (0, 0)
        for writer in writers:
            assert cluster.texts(writer.id) == writer.acked
            snapshot = cluster.snapshot(writer.id)
            assert snapshot is not None
            assert snapshot.seq == len(writer.acked)


@virtual_time
async def test_crowd_that_opens_more_than_fits_stays_below_the_bound() -> None:
    """All of them ask at once, so none may slip in between the look and the queue."""
    bound = 1 << 20
    cluster = Cluster(red_bytes=bound, amber_bytes=bound // 2)
    async with cluster.open("a") as [a]:
        watch = Watch(a)
        a.log_link.delay_s = 1.0
        writers = [Writer(a, f"n{number}") for number in range(2000)]
        watching = asyncio.ensure_future(watch.run())
        await asyncio.gather(*(writer.write(2) for writer in writers))
        await advance(30)
        watching.cancel()
        assert bound / 2 < watch.most <= bound
        assert a.notebooks.pressure.refused > 0
        assert a.notebooks.pressure.held == 0
        assert all(cluster.texts(writer.id) == writer.acked for writer in writers)


@virtual_time
async def test_amber_ack_follows_its_flush() -> None:
    cluster = Cluster(amber_bytes=4096, red_bytes=1 << 20)
    async with cluster.open("a") as [a]:
        a.log_link.delay_s = 1.0
        ack = await a.write("n", "x" * 5000)
        assert cluster.snapshot("n") == ack.version
        assert a.notebooks.pressure.slowed == 1


@virtual_time
async def test_amber_ack_waits_no_longer_than_a_caller_does() -> None:
    cluster = Cluster(amber_bytes=4096, red_bytes=1 << 20, submit_timeout=5)
    async with cluster.open("a") as [a]:
        a.log_link.delay_s = 1.0
        writing = asyncio.ensure_future(a.write("n", "x" * 5000))
        await advance(1.5)
        assert cluster.logged("n")
        # The append is through, the flush does not come through.
        a.log_link.up = False
        await advance(3.4)
        assert not writing.done()
        await advance(0.2)
        assert (await writing).version.seq == 1
        assert cluster.snapshot("n") is None
        a.log_link.up = True


@virtual_time
async def test_amber_takes_nothing_from_memory_alone() -> None:
    cluster = Cluster(amber_bytes=4096, red_bytes=1 << 20)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        ack = await a.write("n", "x" * 5000, durability=Durability.BUFFERED)
        assert ack.durability is Durability.BUFFERED
        ack = await a.write("n", "y", durability=Durability.BUFFERED)
        assert ack.durability is Durability.LOGGED
        assert cluster.snapshot("n") == ack.version


@virtual_time
async def test_what_is_only_buffered_counts_until_it_is_flushed() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        pressure = a.notebooks.pressure
        await a.write("n", "one")
        await advance(6)
        assert pressure.held == 0
        await a.write("n", "x" * 5000, durability=Durability.BUFFERED)
        assert pressure.held > 5000
        a.log_link.hold()
        await advance(11)
        assert pressure.see() is AMBER
        a.log_link.release()
        await advance(6)
        assert (pressure.held, pressure.see()) == (0, GREEN)


@virtual_time
async def test_commands_that_wait_for_the_log_count_with_their_bytes() -> None:
    cluster = Cluster(red_bytes=100_000, amber_bytes=50_000)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(6)
        a.log_link.hold()
        waiting = [
            asyncio.ensure_future(a.write("n", "x" * 20_000, key=f"k{number}"))
            for number in range(10)
        ]
        await settle()
        refused = [one for one in waiting if one.done()]
        assert all(isinstance(one.exception(), Overloaded) for one in refused)
        assert len(refused) == 6
        a.log_link.release()
        await asyncio.gather(*waiting, return_exceptions=True)
        await advance(6)
        assert a.notebooks.pressure.held == 0


@virtual_time
async def test_lost_ownership_gives_back_what_was_held() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        for number in range(10):
            await a.write(f"n{number}", "one")
        await a.write("n0", "two", durability=Durability.BUFFERED)
        a.log_link.hold()
        waiting = asyncio.ensure_future(a.write("n1", "three"))
        await settle()
        await a.notebooks.holdings.deposed()
        a.log_link.release()
        await asyncio.gather(waiting, return_exceptions=True)
        await advance(6)
        assert (a.notebooks.pressure.held, a.notebooks.pressure.due_by) == (0, float("inf"))


@virtual_time
async def test_red_server_still_answers_reads() -> None:
    cluster = Cluster(red_bytes=8192, amber_bytes=4096)
    async with cluster.open("a") as [a]:
        await a.write("n", "x" * 6000)
        with pytest.raises(Overloaded):
            await a.write("n", "y" * 6000)
        assert await a.lines("n") == ("x" * 6000,)


def test_every_colour_has_its_level() -> None:
    assert [colour.level for colour in Colour] == [0, 1, 2]
