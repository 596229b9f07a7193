"""PostgreSQL away: a running room of a real server talks on, and all of it is logged on return."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from src.embedded import Servers
from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.pauses import paused
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxies import open_proxy
from tests.support.room_clients import RoomClient, open_session, turns_of
from tests.support.stage import Tell

_AWAY_S = 8.0
_PACE_S = 0.2
_SETTINGS = {
    **QUICK,
    "SWARMSTATE_STATEMENT_TIMEOUT": "PT1S",
    "SWARMSTATE_SUBMIT_TIMEOUT": "PT1.5S",
    "SWARMSTATE_PATIENCE": "PT1S",
}


@asynccontextmanager
async def room_of_two(
    database_url: str, redis_url: str, folder: Path
) -> AsyncIterator[tuple[RoomClient, Cluster, PostgresProxy]]:
    """Two servers and a room that runs on the first, whose way to PostgreSQL is a proxy."""
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(open_proxy(PostgresProxy(database_url)))
        cluster = await stack.enter_async_context(
            open_cluster(
                database_url,
                redis_url,
                folder,
                settings=_SETTINGS,
                own=[{"SWARMSTATE_DATABASE_URL": way.url}, {}],
            )
        )
        stack.callback(way.restore)
        session = await stack.enter_async_context(open_session(cluster.token))
        client = RoomClient(session, cluster.urls, "c")
        await client.begin(0)
        await stack.enter_async_context(client.following(0))
        yield client, cluster, way


async def test_running_room_talks_on_while_postgres_is_stopped_and_loses_nothing(
    database_url: str, redis_url: str, tmp_path: Path, servers: Servers, tell: Tell
) -> None:
    if servers.postgres_pid is None:
        pytest.skip("PostgreSQL is not ours to stop")
    async with room_of_two(database_url, redis_url, tmp_path) as (client, cluster, _):
        await client.talk(1.0, _PACE_S, 0, 1)
        with paused(servers.postgres_pid):
            await client.talk(_AWAY_S, _PACE_S, 0, 1)
            shown = await client.read(0)
        assert shown.pending > 0
        assert shown.freshness.startswith("stale; age=")
        assert client.keys[-1] not in shown.texts
        await client.until_logged(0, 1)
        await client.talk(1.0, _PACE_S, 0, 1)

        async def all_answered() -> bool:
            return not (await turns_of(cluster.database, "c")).broken(client)

        await eventually(all_answered, 10, what="each turn is in the log with one reply")
        turns = await turns_of(cluster.database, "c")
        await eventually(lambda: len(client.logged) == len(turns.ids), 10, what="all was streamed")

    tell(f"{len(client.keys)} turns, {len(client.promised)} of them pending")
    assert turns.people == [f"{key}:0" for key in client.keys], "once each, in the order said"
    assert len(client.promised) >= 10
    assert len(client.pending) >= 2 * len(client.promised), "replies too"
    assert client.pending == [id for id in turns.ids if id in set(client.pending)]
    assert client.logged == turns.ids


async def test_pending_turns_reach_the_server_that_took_the_room_over(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with room_of_two(database_url, redis_url, tmp_path) as (client, cluster, way):
        await client.talk(1.0, _PACE_S, 0)
        way.half_open()
        # The host goes on until it hears of the takeover; then it sends its clients away.
        while not client.promised:
            await client.say(0, 1)
        await client.talk(3.0, _PACE_S, 0, 1)
        owner = await cluster.database.fetchval(
            "SELECT url FROM servers JOIN conversations c ON c.owner_id = servers.id"
        )
        assert owner == cluster.urls[1]
        way.restore()
        await client.until_logged(0, 1)

        async def all_answered() -> bool:
            return not (await turns_of(cluster.database, "c")).broken(client)

        await eventually(all_answered, 10, what="each turn is in the log with one reply")
    tell(f"{len(client.keys)} turns, {len(client.promised)} of them pending")
