"""Rates in a real Redis: the script counts as the rules say, atomically, and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from src.state.rates import Asked, Rate, judge
from src.state.settings import StateSettings
from src.state.tiers.keys import rate_key
from src.state.tiers.redis import open_redis
from src.state.tiers.redis_rates import RedisRates

LONG = Rate(5, 3600.0)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    settings = StateSettings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1/none"), redis_url=SecretStr(redis_url)
    )
    async with open_redis(settings) as client:
        yield client


async def kept(redis: Redis, name: str) -> Any:
    return await redis.hgetall(rate_key(name))


async def test_many_at_once_take_no_more_than_there_is(redis: Redis) -> None:
    one, two = RedisRates(redis), RedisRates(redis)

    answers = await asyncio.gather(*(rates.add([Asked("a", LONG)]) for rates in (one, two) * 20))

    assert sum(told.taken for (told,) in answers) == 5
    assert max(told.here for (told,) in answers) == 5


async def test_what_was_done_counts_in_any_case(redis: Redis) -> None:
    rates = RedisRates(redis)

    ((first,), (second,)) = [
        await rates.add([Asked("a", LONG, done=7)]),
        await rates.add([Asked("a", LONG, wanted=0)]),
    ]

    assert (first.taken, first.here) == (False, 7)
    assert (second.taken, second.here) == (True, 7)


async def test_several_names_are_counted_each_by_itself_in_one_trip(redis: Redis) -> None:
    rates = RedisRates(redis)

    told = await rates.add([Asked("a", LONG), Asked("b", Rate(1, 60.0)), Asked("b", Rate(1, 60.0))])

    assert [one.taken for one in told] == [True, True, False]
    assert [one.here for one in told] == [1, 1, 1]


async def test_the_window_before_counts_for_its_rest(redis: Redis) -> None:
    rates = RedisRates(redis)
    (told,) = await rates.add([Asked("a", LONG, wanted=0, done=4)])
    window = int((await kept(redis, "a"))[b"w"])
    # As if it had been counted an hour ago.
    await redis.hset(rate_key("a"), "w", str(window - 1))

    (later,) = await rates.add([Asked("a", LONG)])

    assert (told.here, told.before) == (4, 0)
    assert (later.here, later.before, later.taken) == (1, 4, True)
    assert judge(Asked("a", LONG), later).remaining == int(5 - 1 - 4 * (1 - later.passed_s / 3600))


async def test_a_count_is_gone_after_two_windows(redis: Redis) -> None:
    await RedisRates(redis).add([Asked("a", Rate(5, 60.0))])

    assert 60_000 < await redis.pttl(rate_key("a")) <= 120_000
