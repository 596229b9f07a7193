"""After an erasure was acknowledged no server shows what was said, whatever it is cut off from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from src.state.errors import NotFound, SharedTierUnavailable, StateError
from src.state.models import Durability, Event
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.shapes.commands import Delete
from tests.support.cluster_runtimes import SHORT, Member
from tests.support.cluster_settings import eventually, settings
from tests.support.proxies import Proxy, RedisProxy, open_proxy

SECRET_WORD = "marzipan"


class Pair:
    """The server that erases, and one that has read the conversation, behind proxies."""

    def __init__(self, owner: Member, other: Member, postgres: Proxy, redis: RedisProxy) -> None:
        self.owner, self.other = owner, other
        self.postgres, self.redis = postgres, redis

    async def talk(self) -> None:
        await self.owner.create("c")
        said = await self.owner.say("c", SECRET_WORD)
        assert await self.other.texts("c", at_least=said.version) == [SECRET_WORD]

    async def erase(self) -> None:
        if await self.owner.runtime.erasing.tombstone("c") is None:
            await self.owner.service.submit_here(
                "c", Delete(), key="delete", actor="ada", durability=Durability.LOGGED
            )
        await self.owner.runtime.erasing.erase("c")

    async def shows_nothing(self) -> None:
        """The other one refuses, for whichever reason it knows of."""
        with pytest.raises(StateError) as refused:
            await self.other.read("c")
        assert SECRET_WORD not in str(refused.value)


@asynccontextmanager
async def member(database_url: str, redis_url: str, port: int) -> AsyncIterator[Member]:
    swarm = SwarmSettings(
        server_url=f"http://127.0.0.1:{port}", internal_secret=SecretStr("x" * 32)
    )
    given = RuntimeSettings(settings(database_url, redis_url, **SHORT), swarm)
    async with open_runtime(given) as runtime:
        yield Member(runtime)


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(open_proxy(Proxy(database_url, 5432)))
        redis = await stack.enter_async_context(open_proxy(RedisProxy(redis_url)))
        other = await stack.enter_async_context(member(postgres.url, redis.url, 2))
        owner = await stack.enter_async_context(member(database_url, redis_url, 1))
        yield Pair(owner, other, postgres, redis)
        # So that it can say goodbye.
        postgres.restore()
        redis.restore()


async def test_nothing_is_shown_when_both_stores_go_away_afterwards(pair: Pair) -> None:
    await pair.talk()
    await pair.erase()
    pair.postgres.cut()
    pair.redis.cut()
    await pair.shows_nothing()


async def test_nothing_is_shown_by_who_cannot_hear_redis_then(pair: Pair) -> None:
    await pair.talk()
    pair.redis.cut()
    await pair.erase()
    pair.postgres.cut()
    await pair.shows_nothing()


async def test_nothing_is_shown_by_who_cannot_hear_postgresql_then(
    pair: Pair, redis_url: str
) -> None:
    await pair.talk()
    pair.postgres.cut()
    await pair.erase()
    # What L2 was told is lost again.
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    await pair.shows_nothing()


async def test_erasure_is_not_acknowledged_before_l2_is_told(
    database_url: str, redis_url: str
) -> None:
    async with (
        open_proxy(RedisProxy(redis_url)) as proxy,
        member(database_url, proxy.url, 1) as owner,
        Redis.from_url(redis_url) as redis,
    ):
        pair = Pair(owner, owner, Proxy(database_url, 5432), proxy)
        await owner.create("c")
        await owner.say("c", SECRET_WORD)

        async def held() -> str:
            return repr(
                [await redis.hgetall(key) async for key in redis.scan_iter("ss:*:conversation:*")]
            )

        async def is_flushed() -> bool:
            return SECRET_WORD in await held()

        await eventually(is_flushed)
        proxy.cut()
        with pytest.raises(SharedTierUnavailable):
            await pair.erase()
        assert SECRET_WORD in await held()
        proxy.restore()

        async def is_erased() -> bool:
            try:
                await pair.erase()
            except SharedTierUnavailable:
                return False
            return True

        await eventually(is_erased)
        assert SECRET_WORD not in await held()
        with pytest.raises(NotFound):
            await owner.read("c")


async def test_follower_is_told_nothing_more_of_what_was_erased(pair: Pair) -> None:
    await pair.talk()
    async with asyncio.timeout(30), pair.other.service.follow("c", after=0) as events:
        # A client that is slow to take the rest.
        first = await anext(events)
        await pair.erase()
        rest = [event async for event in events]
    assert isinstance(first, Event)
    assert (first.version.seq, rest) == (1, [])
