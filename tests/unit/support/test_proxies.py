"""Each bad network is as bad as its name says, to real servers and the product's own drivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import TimeoutError as RedisSilent

from tests.support.cluster_settings import eventually
from tests.support.postgres_proxy import Moment, PostgresProxy
from tests.support.proxies import Proxy, RedisProxy, open_proxy

GONE = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
SILENCE_S = 0.3


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisProxy]:
    async with open_proxy(RedisProxy(redis_url)) as proxy:
        yield proxy


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresProxy]:
    database = await asyncpg.connect(database_url)
    await database.execute("CREATE TABLE numbers (n int PRIMARY KEY)")
    await database.close()
    async with open_proxy(PostgresProxy(database_url)) as proxy:
        yield proxy


def client(proxy: Proxy) -> Redis:
    """A client that says at once what becomes of it."""
    return Redis.from_url(proxy.url, socket_timeout=SILENCE_S, retry=None)


async def numbers(database_url: str) -> list[int]:
    database = await asyncpg.connect(database_url)
    try:
        rows = await database.fetch("SELECT n FROM numbers ORDER BY n")
    finally:
        await database.close()
    return [row["n"] for row in rows]


async def test_what_is_open_passes_everything(redis: RedisProxy) -> None:
    async with client(redis) as one:
        await one.set("a", b"x" * 1_000_000)
        assert await one.get("a") == b"x" * 1_000_000


async def test_a_delay_holds_each_way_back(redis: RedisProxy) -> None:
    async with client(redis) as one:
        await one.ping()
        redis.there_s, redis.back_s = 0.05, 0.05
        began = time.monotonic()
        await one.ping()
        assert time.monotonic() - began >= 0.1


async def test_a_cut_resets_and_refuses_until_it_is_restored(redis: RedisProxy) -> None:
    async with client(redis) as one:
        await one.ping()
        redis.cut()
        for _ in range(2):
            with pytest.raises(RedisGone):
                await one.ping()
        redis.restore()
        assert await one.ping()


def test_what_comes_after_a_reset_is_a_broken_connection_to_every_loop(redis_url: str) -> None:
    async def come_late() -> None:
        async with open_proxy(RedisProxy(redis_url)) as proxy, client(proxy) as one:
            await one.ping()
            (connection,) = proxy.connections
            connection.reset()
            for send in (connection.there, connection.back):
                with pytest.raises(ConnectionResetError):
                    await send(b"late")

    for run in (asyncio.run, uvloop.run):
        run(come_late())


async def test_half_open_swallows_in_silence_until_it_is_restored(
    redis: RedisProxy, redis_url: str
) -> None:
    async with client(redis) as one, client(redis) as another, Redis.from_url(redis_url) as direct:
        await one.ping()
        redis.half_open()
        for nobody in (one, another):
            with pytest.raises(RedisSilent):
                await nobody.set("a", 1)
        redis.restore()
        assert await one.get("a") is None, "a connection that lost bytes never goes on"
        assert await direct.get("a") is None


async def subscribed(one: Redis) -> PubSub:
    listening = one.pubsub()
    await listening.subscribe("news")
    await listening.get_message(timeout=1)
    return listening


async def test_subscriptions_alone_can_be_cut(redis: RedisProxy) -> None:
    async with client(redis) as one, client(redis) as another:
        listening = await subscribed(one)
        redis.cut_subscriptions()
        await another.set("a", "SUBSCRIBE")
        assert await another.get("a") == b"SUBSCRIBE"
        with pytest.raises(RedisGone):
            await listening.get_message(timeout=1)
        with pytest.raises(RedisGone):
            await subscribed(another)
        redis.restore()
        await (await subscribed(another)).aclose()  # type: ignore[no-untyped-call]
        await listening.aclose()  # type: ignore[no-untyped-call]


async def test_subscriptions_alone_can_fall_silent(redis: RedisProxy) -> None:
    async with client(redis) as one, client(redis) as another:
        listening = await subscribed(one)
        redis.silence_subscriptions()
        assert await another.publish("news", "lost") == 1, "to Redis it is still there"
        assert await listening.get_message(timeout=SILENCE_S) is None
        await listening.aclose()  # type: ignore[no-untyped-call]


async def test_a_command_that_is_held_never_arrives_nor_does_what_follows_it(
    redis: RedisProxy, redis_url: str
) -> None:
    async with client(redis) as one, client(redis) as another, Redis.from_url(redis_url) as direct:
        await one.set("a", "before")
        held = redis.hold(b"of all things")
        assert not held.is_set()
        with pytest.raises(RedisSilent):
            await one.set("a", "this of all things")
        assert held.is_set()
        await another.set("b", "passed")
        redis.restore()
        assert await direct.mget("a", "b") == [b"before", b"passed"]
        await one.set("a", "of all things, again")
        assert await direct.get("a") == b"of all things, again"


@pytest.mark.parametrize("moment", Moment)
async def test_a_commit_is_met_where_it_was_said(
    postgres: PostgresProxy, database_url: str, moment: Moment
) -> None:
    database = await asyncpg.connect(postgres.url)
    await database.execute("INSERT INTO numbers VALUES (1)")
    postgres.reset_commits(moment)
    assert await database.fetchval("SELECT count(*) FROM numbers") == 1, "a read is no commit"
    with pytest.raises(GONE):
        await database.fetch("INSERT INTO numbers SELECT $1::int", 2)
    assert database.is_closed()
    assert (postgres.resets, postgres.armed) == ({moment: 1}, 0)
    expected = {
        Moment.BEFORE: [[1]],
        Moment.DURING: [[1], [1, 2]],
        Moment.AFTER: [[1, 2]],
    }
    assert await numbers(database_url) in expected[moment]


@pytest.mark.parametrize(
    ("moment", "expected"), [(Moment.BEFORE, []), (Moment.AFTER, [1, 2])], ids=("before", "after")
)
async def test_the_commit_of_a_transaction_is_met(
    postgres: PostgresProxy, database_url: str, moment: Moment, expected: list[int]
) -> None:
    database = await asyncpg.connect(postgres.url)
    postgres.reset_commits(moment, writing="INTO numbers")
    async with database.transaction():
        assert await database.fetchval("SELECT 1") == 1

    transaction = database.transaction()
    await transaction.start()
    await database.execute("INSERT INTO numbers VALUES (1)")
    await database.execute("INSERT INTO numbers SELECT $1::int", 2)
    assert not postgres.resets
    with pytest.raises(GONE):
        await transaction.commit()
    assert await numbers(database_url) == expected


async def test_a_commit_that_fails_by_itself_is_answered_and_another_one_met(
    postgres: PostgresProxy, database_url: str
) -> None:
    database = await asyncpg.connect(postgres.url)
    await database.execute("INSERT INTO numbers VALUES (1)")
    postgres.reset_commits(Moment.AFTER)
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute("INSERT INTO numbers VALUES (1)")
    with pytest.raises(GONE):
        await database.execute("INSERT INTO numbers VALUES (2)")
    assert await numbers(database_url) == [1, 2]


async def test_commits_alone_can_be_slow(postgres: PostgresProxy, database_url: str) -> None:
    database = await asyncpg.connect(postgres.url)
    postgres.commits_wait_s = 0.2
    writing = asyncio.create_task(database.execute("INSERT INTO numbers VALUES (1)"))
    other = await asyncpg.connect(postgres.url)
    assert await other.fetchval("SELECT 2") == 2
    assert not writing.done()
    assert await numbers(database_url) == [1], "it is done, and its answer is on the way"
    assert await writing == "INSERT 0 1"
    await database.close()
    await other.close()


async def test_the_database_does_not_learn_that_a_half_open_client_is_gone(
    postgres: PostgresProxy, database_url: str
) -> None:
    database, direct = await asyncpg.connect(postgres.url), await asyncpg.connect(database_url)
    transaction = database.transaction()
    await transaction.start()
    await database.execute("LOCK numbers")
    postgres.half_open()
    database.terminate()
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    assert await direct.fetchval(held) == 1
    postgres.restore()

    async def is_released() -> bool:
        return bool(await direct.fetchval(held) == 0)

    await eventually(is_released)
    await direct.close()


async def test_large_and_many_messages_pass_unchanged(postgres: PostgresProxy) -> None:
    database = await asyncpg.connect(postgres.url)
    body = "ä" * 500_000
    assert await database.fetchval("SELECT $1::text", body) == body
    await database.copy_records_to_table("numbers", records=[(n,) for n in range(20_000)])
    rows = await database.fetch("SELECT n FROM numbers ORDER BY n")
    assert [row["n"] for row in rows] == list(range(20_000))
    await database.close()
