"""Rates: a sliding window told from two fixed ones, and what a server knows of it by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.state.buffers import Buffer
from src.state.errors import SharedTierUnavailable
from src.state.rates import Asked, Rate, Rates, Told, judge, parse_rate, used
from tests.support.clock import VirtualClock, advance, virtual_time

FIVE = Rate(5, 60.0)
WANTED = [("user:zoe", FIVE)]


class Shared:
    """One fixed window that all servers share, and which may be away."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trips = 0
        self.up = True

    async def add(self, asked: Sequence[Asked]) -> Sequence[Told]:
        self.trips += 1
        if not self.up:
            raise SharedTierUnavailable("away")
        told = []
        for one in asked:
            self.counts[one.name] += one.done
            taken = not one.wanted or self.counts[one.name] + one.wanted <= one.rate.count
            self.counts[one.name] += one.wanted * taken
            told.append(Told(self.counts[one.name], 0, 10.0, taken))
        return told


def servers(shared: Shared) -> tuple[Rates, Rates]:
    return Rates(shared, VirtualClock()), Rates(shared, VirtualClock(500.0))


@pytest.mark.parametrize("text", ["60", "0/1m", "-1/1m", "60/", "60/minute", 60, None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_rate(text)


def test_a_rate_is_a_count_and_a_window() -> None:
    assert parse_rate("60/1m") == Rate(60, 60.0)
    assert parse_rate(" 5 / 500ms ") == Rate(5, 0.5)


def test_the_window_before_counts_for_the_part_that_is_still_covered() -> None:
    assert used(Told(2, 4, 45.0), FIVE) == 3.0


@given(st.integers(1, 100), st.integers(0, 100), st.integers(0, 100), st.floats(0, 59.5))
def test_there_is_room_again_when_the_verdict_says_so_and_not_much_earlier(
    count: int, here: int, before: int, passed_s: float
) -> None:
    rate = Rate(count, 60.0)
    told = Told(min(here, count), min(before, count), passed_s)

    verdict = judge(Asked("a", rate), told)

    assert used(later(told, verdict.retry_s), rate) <= count - 1 + 1e-6
    if verdict.retry_s > 0.01:
        assert used(later(told, verdict.retry_s - 0.01), rate) > count - 1


def later(told: Told, seconds: float) -> Told:
    passed_s = told.passed_s + seconds
    if passed_s < 60:
        return Told(told.here, told.before, passed_s)
    return Told(0, told.here, passed_s - 60) if passed_s < 120 else Told(0, 0, 0.0)


@virtual_time
async def test_one_count_serves_all_servers_and_what_is_refused_is_not_counted() -> None:
    shared = Shared()
    one, two = servers(shared)

    allowed = [(await server.take(WANTED)).allowed for server in (one, two) * 4]

    assert allowed == [True] * 5 + [False] * 3
    assert shared.counts["user:zoe"] == 5


@virtual_time
async def test_the_tightest_of_several_rates_is_the_verdict() -> None:
    rates, _ = servers(Shared())
    both = [*WANTED, ("address:::1", Rate(2, 60.0))]

    first, second, third = [await rates.take(both) for _ in range(3)]

    assert (first.name, first.remaining) == ("address:::1", 1)
    assert second.allowed
    assert (third.name, third.allowed, third.retry_s > 0) == ("address:::1", False, True)


@virtual_time
async def test_without_redis_each_server_counts_for_itself_and_a_window_ends() -> None:
    shared = Shared()
    one, two = servers(shared)
    shared.up = False

    alone = [(await one.take(WANTED)).allowed for _ in range(6)]
    other = await two.take(WANTED)
    await advance(121)
    after = await one.take(WANTED)

    assert alone == [True] * 5 + [False]
    assert (other.allowed, after.allowed, after.remaining) == (True, True, 4)


@virtual_time
async def test_what_was_counted_is_seen_by_all_servers_and_looking_counts_nothing() -> None:
    shared = Shared()
    one, two = servers(shared)

    assert not await two.seen("user:zoe", FIVE)
    await one.take(WANTED)

    assert await two.seen("user:zoe", FIVE)
    assert shared.counts == {"user:zoe": 1}


@virtual_time
async def test_without_redis_a_server_sees_what_it_counted_itself() -> None:
    shared = Shared()
    one, two = servers(shared)
    shared.up = False
    await one.take(WANTED)

    assert await one.seen("user:zoe", FIVE)
    assert not await two.seen("user:zoe", FIVE)


@virtual_time
async def test_a_count_that_is_not_known_here_is_not_decided_at_once() -> None:
    rates, _ = servers(Shared())

    assert rates.take_at_once(WANTED) is None


@virtual_time
async def test_what_is_taken_at_once_is_told_in_one_trip_and_the_others_taken_are_learnt() -> None:
    shared = Shared()
    one, two = servers(shared)
    await one.take(WANTED)
    await two.take(WANTED)
    before = shared.trips

    at_once = [one.take_at_once(WANTED) for _ in range(4)]
    assert shared.trips == before
    await one.push()

    assert [verdict is not None for verdict in at_once] == [True, True, True, True]
    assert (shared.trips - before, shared.counts["user:zoe"]) == (1, 6)
    assert one.take_at_once(WANTED) is None, "Redis told of the other server's one"
    assert not (await two.take(WANTED)).allowed


@virtual_time
async def test_a_request_that_waits_tells_what_was_taken_at_once_before_it_asks() -> None:
    shared = Shared()
    one, _ = servers(shared)
    await one.take(WANTED)
    for _ in range(4):
        one.take_at_once(WANTED)

    assert not (await one.take(WANTED)).allowed
    await one.push()
    assert shared.counts["user:zoe"] == 5, "told once"


def test_verdict_says_how_much_room_there_is_and_when_there_is_more() -> None:
    free = judge(Asked("a", FIVE), Told(2, 0, 10.0))
    assert (free.name, free.rate, free.allowed) == ("a", FIVE, True)
    assert (free.remaining, free.reset_s, free.retry_s) == (3, 50.0, 0.0)
    # Four here, two before: one is free again when half of the window before has slid out.
    sliding = judge(Asked("a", FIVE), Told(4, 2, 10.0, taken=False))
    assert (sliding.allowed, sliding.remaining, sliding.retry_s) == (False, 0, 50.0)
    # Five here: the next window has to go on until one of them has slid out.
    full = judge(Asked("a", FIVE), Told(5, 0, 10.0, taken=False))
    assert full.retry_s == pytest.approx(50 + 12)
    assert judge(Asked("a", FIVE), Told(9, 9, 10.0)).remaining == 0


@virtual_time
async def test_alone_a_window_slides_out_over_the_next_one() -> None:
    shared = Shared()
    shared.up = False
    rates, _ = servers(shared)
    for _ in range(5):
        assert (await rates.take(WANTED)).allowed
    await advance(60)
    assert not (await rates.take(WANTED)).allowed
    await advance(11)
    assert not (await rates.take(WANTED)).allowed
    await advance(1)
    verdict = await rates.take(WANTED)
    assert (verdict.allowed, verdict.remaining) == (True, 0)
    assert verdict.reset_s == pytest.approx(48)


@virtual_time
async def test_at_once_no_more_is_given_than_the_rate_has() -> None:
    shared = Shared()
    rates, _ = servers(shared)
    await rates.take(WANTED)
    verdicts = [rates.take_at_once(WANTED) for _ in range(5)]
    assert [verdict and verdict.remaining for verdict in verdicts] == [3, 2, 1, 0, None]
    assert [verdict and verdict.allowed for verdict in verdicts] == [True] * 4 + [None]
    assert [verdict and verdict.reset_s for verdict in verdicts] == [50.0] * 4 + [None]


@virtual_time
async def test_at_once_the_tightest_of_several_rates_is_the_verdict_and_all_or_none_count() -> None:
    rates, _ = servers(Shared())
    both = [*WANTED, ("address:::1", Rate(2, 60.0))]
    await rates.take(both)
    verdict = rates.take_at_once(both)
    assert verdict is not None
    assert (verdict.name, verdict.remaining) == ("address:::1", 0)
    assert rates.take_at_once(both) is None
    left = rates.take_at_once(WANTED)
    assert left is not None
    assert left.remaining == 2


@virtual_time
async def test_another_rate_under_the_same_name_begins_anew() -> None:
    shared = Shared()
    shared.up = False
    rates, _ = servers(shared)
    await rates.take(WANTED)
    assert rates.take_at_once([("user:zoe", Rate(6, 60.0))]) is None
    assert (await rates.take([("user:zoe", Rate(6, 60.0))])).remaining == 5


@virtual_time
async def test_what_redis_was_not_told_stays_counted_here() -> None:
    shared = Shared()
    rates, _ = servers(shared)
    await rates.take(WANTED)
    for _ in range(3):
        rates.take_at_once(WANTED)
    shared.up = False
    before = shared.trips
    await rates.push()
    await rates.push()
    assert shared.trips == before + 1
    verdict = await rates.take(WANTED)
    assert (verdict.allowed, verdict.remaining) == (True, 0)


@virtual_time
async def test_what_is_taken_while_redis_is_told_is_for_the_next_trip() -> None:
    class Slow(Shared):
        async def add(self, asked: Sequence[Asked]) -> Sequence[Told]:
            told = await super().add(asked)
            await asyncio.sleep(1)
            return told

    shared = Slow()
    rates, _ = servers(shared)
    await rates.take(WANTED)
    rates.take_at_once(WANTED)
    pushing = asyncio.ensure_future(rates.push())
    await advance(0.5)
    rates.take_at_once(WANTED)
    assert shared.counts["user:zoe"] == 2
    await pushing
    still = rates.take_at_once(WANTED)
    assert still is not None
    assert still.remaining == 1
    await rates.push()
    assert shared.counts["user:zoe"] == 4


@virtual_time
async def test_telling_redis_what_was_taken_teaches_what_the_others_took() -> None:
    ten = [("user:zoe", Rate(10, 60.0))]
    shared = Shared()
    one, two = servers(shared)
    await one.take(ten)
    for _ in range(5):
        await two.take(ten)
    one.take_at_once(ten)
    await one.push()
    verdict = one.take_at_once(ten)
    assert verdict is not None
    assert verdict.remaining == 2


@virtual_time
async def test_thousands_are_told_in_trips_of_five_hundred() -> None:
    shared = Shared()
    rates, _ = servers(shared)
    for n in range(501):
        await rates.take([(f"n{n}", FIVE)])
        rates.take_at_once([(f"n{n}", FIVE)])
    before = shared.trips
    await rates.push()
    assert shared.trips - before == 2
    assert set(shared.counts.values()) == {2}
    for n in range(501):
        rates.take_at_once([(f"n{n}", FIVE)])
    shared.up = False
    await rates.push()
    assert shared.trips - before == 4


@virtual_time
async def test_redis_is_told_four_times_a_second() -> None:
    shared = Shared()
    rates, _ = servers(shared)
    pushing = asyncio.ensure_future(rates.push_for_ever())
    await rates.take(WANTED)
    for _ in range(4):
        rates.take_at_once(WANTED)
        await advance(0.25)
    pushing.cancel()
    assert (shared.trips, shared.counts["user:zoe"]) == (1 + 4, 5)


@virtual_time
async def test_copies_are_bounded_and_what_is_forgotten_is_counted() -> None:
    shared = Shared()
    rates, _ = servers(shared)
    assert rates.buffers() == {"rates": Buffer(0, 50_000, 0)}
    await rates.take([(f"n{n}", FIVE) for n in range(50_000)])
    assert rates.buffers() == {"rates": Buffer(50_000, 50_000, 0)}
    await rates.take([("n49999", Rate(6, 60.0))])
    assert rates.buffers() == {"rates": Buffer(50_000, 50_000, 0)}
    await rates.take([("one more", FIVE)])
    assert rates.buffers() == {"rates": Buffer(50_000, 50_000, 1)}
