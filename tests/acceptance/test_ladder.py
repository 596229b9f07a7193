"""Two real servers lose a store in every way there is, say so, go on with the rest, and come back.

Nothing here measures time: that nobody waits for a store that is away shows in how often it is
asked, which must not depend on how many ask us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from src.embedded import Servers
from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.evidence import all_flushed
from tests.support.outages import Crowd
from tests.support.pauses import paused
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxies import Proxy, RedisProxy, open_proxy
from tests.support.room_clients import open_session
from tests.support.stage import Tell

_CONVERSATIONS = 20
_ROUNDS = 5
_SETTINGS = {
    **QUICK,
    "SWARMSTATE_STATEMENT_TIMEOUT": "PT1S",
    "SWARMSTATE_CONNECT_TIMEOUT": "PT1S",
    "SWARMSTATE_REDIS_TIMEOUT": "PT0.5S",
    "SWARMSTATE_SUBMIT_TIMEOUT": "PT1.5S",
    "SWARMSTATE_PATIENCE": "PT1S",
}


class Scene:
    """Two servers behind a bad network, and their clients."""

    def __init__(
        self, crowd: Crowd, cluster: Cluster, postgres: PostgresProxy, redis: RedisProxy
    ) -> None:
        self.crowd, self.cluster = crowd, cluster
        self.postgres, self.redis = postgres, redis


@asynccontextmanager
async def scene(database_url: str, redis_url: str, folder: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(open_proxy(PostgresProxy(database_url)))
        redis = await stack.enter_async_context(open_proxy(RedisProxy(redis_url)))
        cluster = await stack.enter_async_context(
            open_cluster(
                database_url,
                redis.url,
                folder,
                settings={**_SETTINGS, "SWARMSTATE_DATABASE_URL": postgres.url},
            )
        )
        stack.callback(redis.restore)
        stack.callback(postgres.restore)
        session = await stack.enter_async_context(open_session(cluster.token))
        crowd = Crowd(session, cluster.urls, _CONVERSATIONS)
        # A server that starts on a slow machine may doubt a store at first.
        await crowd.until_on("all")
        await crowd.begin()
        await all_flushed(cluster.database)
        yield Scene(crowd, cluster, postgres, redis)


@contextmanager
def away(how: str, proxy: Proxy, pid: int | None) -> Iterator[None]:
    """Take a store away for the length of the block."""
    if how == "stopped":
        assert pid is not None
        with paused(pid):
            yield
        return
    proxy.cut() if how == "cut" else proxy.half_open()
    try:
        yield
    finally:
        proxy.restore()


async def comes_back(stage: Scene) -> None:
    """Everything is as before: both servers on the first rung, each conversation written, read."""
    await stage.crowd.until_on("all")
    await stage.crowd.until_written()
    for seat in (0, 1):
        await stage.crowd.read_all(seat, own=True)
    assert stage.crowd.broken == []


@pytest.mark.parametrize("how", ["cut", "half open", "stopped"])
async def test_postgres_away_under_load(
    how: str, database_url: str, redis_url: str, tmp_path: Path, servers: Servers, tell: Tell
) -> None:
    async with scene(database_url, redis_url, tmp_path) as stage:
        crowd, owners = stage.crowd, await owners_of(stage.cluster)
        with away(how, stage.postgres, servers.postgres_pid):
            # Load from before it is known: what is under way then must not wait either.
            writes = [asyncio.ensure_future(crowd.say(0, id)) for id in crowd.ids]
            await crowd.read_all(1)
            await crowd.until_on("without_l3")
            for answer in await asyncio.gather(*writes):
                assert answer.is_read_only or answer.code == "outcome_unknown", answer
            await crowd.until_labelled()
            for _ in range(_ROUNDS):
                for seat in (0, 1):
                    await crowd.without_postgres(seat)
            for seat in (0, 1):
                for path in ("/never-seen", f"/{crowd.ids[0]}/messages", ""):
                    assert (await crowd.ask(seat, path)).is_read_only, path
        await comes_back(stage)
        assert await owners_of(stage.cluster) == owners, "nothing changed hands"
        entered = [(await crowd.status(seat))["ladder"]["entered"] for seat in (0, 1)]
    tell(f"{dict(crowd.counts)}")
    assert [one["without_l3"] for one in entered] == [1, 1]


async def owners_of(cluster: Cluster) -> dict[str, str]:
    rows = await cluster.database.fetch("SELECT id, owner_id FROM conversations")
    return {row["id"]: row["owner_id"] for row in rows}


async def test_postgres_killed_under_load(
    database_url: str, redis_url: str, tmp_path: Path, servers: Servers
) -> None:
    if servers.postgres_pid is None:
        pytest.skip("PostgreSQL is not ours to kill")
    async with scene(database_url, redis_url, tmp_path) as stage:
        servers.kill_postgres()
        await stage.crowd.until_on("without_l3")
        await stage.crowd.until_labelled()
        for seat in (0, 1):
            await stage.crowd.without_postgres(seat)
        await asyncio.to_thread(servers.start_postgres)
        await stage.cluster.reconnect()
        await comes_back(stage)


async def test_nobody_knocks_at_a_hung_postgres_but_the_probes(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with scene(database_url, redis_url, tmp_path) as stage:
        with away("half open", stage.postgres, None):
            await stage.crowd.until_on("without_l3")
            before = len(stage.postgres.connections)
            reads = await asyncio.gather(
                *(stage.crowd.read(n % 2, id) for id in stage.crowd.ids for n in range(100))
            )
            for seat in (0, 1):
                assert (await stage.crowd.ask(seat, "/never-seen")).is_read_only
            after = len(stage.postgres.connections)
        tell(f"{before} connections before {len(reads)} reads, {after} after")
        # A half-open connection stays with the proxy, so each one that was tried is counted here:
        # a few loops of each server, once a second.
        assert after - before < len(reads) / 20
        await comes_back(stage)


@pytest.mark.parametrize("how", ["cut", "half open", "stopped"])
async def test_redis_away_under_load(
    how: str, database_url: str, redis_url: str, tmp_path: Path, servers: Servers
) -> None:
    async with scene(database_url, redis_url, tmp_path) as stage:
        crowd = stage.crowd
        with away(how, stage.redis, servers.redis_pid):
            await crowd.until_on("without_l2")
            for number in range(_ROUNDS):
                for place, id in enumerate(crowd.ids):
                    answer = await crowd.say(place + number, id)
                    assert answer.status < 300, answer
                    read = await crowd.read(place + number + 1, id, own=True)
                    assert read.freshness == "fresh"
            assert (await crowd.ask(0, "/never-seen")).status == 404
        await comes_back(stage)


async def test_redis_killed_under_load(
    database_url: str, redis_url: str, tmp_path: Path, servers: Servers
) -> None:
    if servers.redis_pid is None:
        pytest.skip("Redis is not ours to kill")
    async with scene(database_url, redis_url, tmp_path) as stage:
        servers.kill_redis()
        await stage.crowd.until_on("without_l2")
        await stage.crowd.until_written()
        for seat in (0, 1):
            await stage.crowd.read_all(seat, own=True)
        await asyncio.to_thread(servers.start_redis)
        await comes_back(stage)


async def test_both_away(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with scene(database_url, redis_url, tmp_path) as stage:
        with (
            away("half open", stage.postgres, None),
            away("half open", stage.redis, None),
        ):
            await stage.crowd.until_on("without_both")
            await stage.crowd.until_labelled()
            for seat in (0, 1):
                await stage.crowd.without_postgres(seat)
        await comes_back(stage)


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_subscription_alone_away(
    how: str, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with scene(database_url, redis_url, tmp_path) as stage:
        crowd = stage.crowd
        if how == "cut":
            stage.redis.cut_subscriptions()
        else:
            stage.redis.silence_subscriptions()
        await crowd.until_on("deaf")
        for place, id in enumerate(crowd.ids):
            assert (await crowd.say(place, id)).status < 300
            assert (await crowd.read(place + 1, id, own=True)).freshness == "fresh"
        stage.redis.restore()
        await comes_back(stage)
