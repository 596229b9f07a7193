"""Opened by silence, closed by proofs, and nobody waits behind it."""

import asyncio

import pytest

from src.state.errors import DurableTierUnavailable, UnfitEvent
from src.state.ladder.breaker import Breaker, Way
from tests.support.clock import VirtualClock, advance, jump, settle, virtual_time


class Store:
    """A store that a probe asks every half second, as pulls and beats do."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.breaker = Breaker(self.clock, proof="beat", open_after_s=1.0)
        self.up = True
        self.hangs_s = 0.0
        self.turns: list[bool] = []
        self.breaker.on_change.append(lambda: self.turns.append(self.breaker.closed))

    async def ask(self, probe: str = "beat", *, up: bool | None = None) -> None:
        sent = self.clock.monotonic()
        await asyncio.sleep(self.hangs_s)
        if self.up if up is None else up:
            self.breaker.good(probe)
        else:
            self.breaker.failed(probe, sent)

    async def ask_for(self, seconds: float, every_s: float = 0.5) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.ask()
            await advance(every_s)


@virtual_time
async def test_connection_that_broke_and_came_back_opens_nothing() -> None:
    store = Store()
    await store.ask(up=False)
    await advance(0.5)
    await store.ask_for(5)
    assert store.turns == []


@virtual_time
async def test_silence_for_its_time_opens() -> None:
    store = Store()
    store.up = False
    await store.ask_for(1)
    assert store.breaker.closed
    await store.ask()
    assert not store.breaker.closed


@virtual_time
async def test_try_that_ran_into_its_time_out_opens_at_once() -> None:
    store = Store()
    store.up, store.hangs_s = False, 3.0
    await store.ask()
    assert not store.breaker.closed


@virtual_time
async def test_proofs_in_a_row_close() -> None:
    store = Store()
    store.up, store.hangs_s = False, 3.0
    await store.ask()
    store.up, store.hangs_s = True, 0.0
    seen = []
    for _ in range(3):
        await store.ask()
        seen.append((store.breaker.closed, store.breaker.half_open))
    assert seen == [(False, True), (False, True), (True, False)]


@virtual_time
async def test_failure_between_proofs_starts_them_anew() -> None:
    store = Store()
    store.up, store.hangs_s = False, 3.0
    await store.ask()
    store.hangs_s = 0.0
    for up in (True, True, False, True, True):
        await store.ask(up=up)
    assert not store.breaker.closed
    await store.ask(up=True)
    assert store.breaker.closed


@virtual_time
async def test_store_that_answers_reads_and_takes_no_commit_stays_open() -> None:
    """A full disk and a standby answer every SELECT."""
    store = Store()
    store.up, store.hangs_s = False, 3.0
    await store.ask()
    store.hangs_s = 0.0
    for _ in range(10):
        await store.ask("pull", up=True)
    assert not store.breaker.closed


@virtual_time
async def test_other_probe_without_an_answer_keeps_it_open() -> None:
    store = Store()
    store.up, store.hangs_s = False, 3.0
    await store.ask("append")
    store.hangs_s = 0.0
    for _ in range(5):
        await store.ask("beat", up=True)
    assert not store.breaker.closed
    await store.ask("append", up=True)
    for _ in range(3):
        await store.ask("beat", up=True)
    assert store.breaker.closed


@pytest.mark.parametrize("period_s", [0.5, 1.0])
def test_store_that_comes_and_goes_does_not_make_it_flap(period_s: float) -> None:
    @virtual_time
    async def alternate() -> None:
        store = Store()
        store.up, store.hangs_s = False, 3.0
        await store.ask()
        store.hangs_s = 0.0
        for turn in range(100):
            store.up = turn % 2 == 0
            await store.ask_for(period_s)
        assert store.turns == [False]
        store.up = True
        await store.ask_for(2)
        assert store.turns == [False, True]

    alternate()


@virtual_time
async def test_first_failure_in_a_row_is_news() -> None:
    store = Store()
    now = store.clock.monotonic()
    assert [store.breaker.failed("beat", now) for _ in range(3)] == [True, False, False]
    store.breaker.good("beat")
    assert store.breaker.failed("beat", now)


@virtual_time
async def test_probe_counts_an_error_that_is_an_answer_as_one() -> None:
    store = Store()
    store.breaker.failed("append", store.clock.monotonic())
    with pytest.raises(UnfitEvent), store.breaker.probe("append"):
        raise UnfitEvent("never")
    jump(10)
    with pytest.raises(DurableTierUnavailable), store.breaker.probe("append"):
        raise DurableTierUnavailable("no answer")
    assert store.breaker.closed, "the answer ended the silence that had begun before"


# -- the way -------------------------------------------------------------------------------------


@virtual_time
async def test_nobody_sets_out_while_it_is_open() -> None:
    store = Store()
    way = Way(store.breaker, DurableTierUnavailable, "PostgreSQL")
    store.breaker.failed("beat", store.clock.monotonic() - 3)
    with pytest.raises(DurableTierUnavailable, match="PostgreSQL is away"):
        async with way.trip():
            pytest.fail("nobody gets through")


@virtual_time
async def test_who_is_under_way_when_it_opens_comes_back_at_once() -> None:
    store = Store()
    way = Way(store.breaker, DurableTierUnavailable, "PostgreSQL")
    held = asyncio.Event()

    async def go() -> None:
        async with way.trip():
            await held.wait()

    trips = [asyncio.ensure_future(go()) for _ in range(100)]
    await settle()
    began = store.clock.monotonic()
    store.breaker.failed("beat", began - 3)
    answers = await asyncio.gather(*trips, return_exceptions=True)
    assert {type(answer) for answer in answers} == {DurableTierUnavailable}
    assert store.clock.monotonic() == began


@virtual_time
async def test_way_opens_again_with_the_breaker() -> None:
    store = Store()
    way = Way(store.breaker, DurableTierUnavailable, "PostgreSQL")
    store.breaker.failed("beat", store.clock.monotonic() - 3)
    for _ in range(3):
        await store.ask()
    async with way.trip():
        await advance(10)


@virtual_time
async def test_cancelled_traveller_is_cancelled() -> None:
    store = Store()
    way = Way(store.breaker, DurableTierUnavailable, "PostgreSQL")

    async def go() -> None:
        async with way.trip():
            await asyncio.Event().wait()

    task = asyncio.ensure_future(go())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_half_open_is_what_is_open_and_had_its_newest_proof() -> None:
    store = Store()

    def looks() -> tuple[bool, bool]:
        return store.breaker.closed, store.breaker.half_open

    assert looks() == (True, False)
    store.up = False
    await store.ask_for(3)
    assert looks() == (False, False)
    await store.ask(up=True)
    assert looks() == (False, True)
    await store.ask(up=False)
    assert looks() == (False, False)
    for _ in range(3):
        await store.ask(up=True)
    assert looks() == (True, False)
