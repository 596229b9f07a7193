"""Redis that takes nothing more: what is acknowledged meanwhile is read, on new servers too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pydantic import SecretStr
from redis.asyncio import Redis

from src.state.models import Version
from src.state.tiers.keys import body_key, sortable
from src.swarm.opened import Runtime
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.shapes.commands import Create, NewParticipant, PostMessage, Speaker
from tests.support.cluster_settings import eventually, settings

SECRET = SecretStr("a secret of tests, at least thirty-two characters")
LIMITS = ("maxmemory", "maxmemory-policy")


@asynccontextmanager
async def server(database_url: str, redis_url: str, port: int) -> AsyncIterator[Runtime]:
    state = settings(database_url, redis_url, flush_debounce=timedelta(milliseconds=50))
    url = f"http://127.0.0.1:{port}"
    swarm = SwarmSettings(server_url=url, internal_secret=SECRET)
    async with open_runtime(RuntimeSettings(state, swarm)) as runtime:
        yield runtime


@asynccontextmanager
async def full(redis: Redis) -> AsyncIterator[None]:
    """Let Redis refuse every write for the length of the block, whatever its limits were."""
    before = {name: (await redis.config_get(name))[name] for name in LIMITS}
    try:
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "1")
        yield
    finally:
        for name, value in before.items():
            await redis.config_set(name, value or 0)


async def body_version(redis: Redis, id: str) -> str | bytes | None:
    """The version of the body that L2 holds, as it is written there."""
    return await redis.hget(body_key("conversation", id), "v")


def says(text: str) -> PostMessage:
    return PostMessage(Speaker("person", "ada"), text)


async def test_turn_acknowledged_while_redis_is_full_is_read_on_a_server_that_starts_later(
    database_url: str, redis_url: str
) -> None:
    """Only a notice told of it, so the older body in L2 may not pass for the newest."""
    redis = Redis.from_url(redis_url, decode_responses=True)
    try:
        async with server(database_url, redis_url, 1) as a:
            created = await a.service.submit(
                "c",
                Create("c", participants=(NewParticipant("ada", "person", "Ada"),)),
                key="create",
                actor="ada",
                create=True,
            )
            old = sortable(created.version)

            async def old_body_is_there() -> bool:
                return await body_version(redis, "c") == old

            await eventually(old_body_is_there, what="the first body in L2")
            async with full(redis):
                acked = await a.service.submit("c", says("hello"), key="k", actor="ada")
                await eventually(lambda: a.status.counts()["dirty"] == 0, what="flushed to L3")
                assert a.status.counts()["announcement_fallbacks"] == 1
                async with server(database_url, redis_url, 2) as b:
                    assert await newest(b) >= acked.version
            assert await body_version(redis, "c") == old
            await a.service.submit("d", Create("d"), key="k", actor="ada", create=True)
            async with server(database_url, redis_url, 3) as c:
                assert await newest(c) >= acked.version
                await eventually(lambda: all_announce(c), what="a told Redis what it missed")
                assert await newest(c) >= acked.version
    finally:
        await redis.aclose()


async def newest(runtime: Runtime) -> Version:
    """The version of an unlabelled read."""
    read = await runtime.service.read("c")
    assert read.stale_s is None
    return read.entry.version


def all_announce(runtime: Runtime) -> bool:
    return all(peer["announces"] for peer in runtime.status.summary()["peers"])
