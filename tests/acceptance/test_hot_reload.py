"""A bot's config is edited on one server; the other, which runs the conversation, obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.proxies import RedisProxy, open_proxy
from tests.support.room_clients import RoomClient, open_session
from tests.support.stage import Tell

_PATIENT = {
    "SWARMSTATE_OWNER_DEADLINE": "PT50S",
    "SWARMSTATE_DEAD_AFTER": "PT60S",
}
"""Nobody is held for dead meanwhile: what arrives does not arrive by a takeover."""
_WAITS = "PT30S"
"""How long the edited server waits for Redis before it would tell the others by PostgreSQL."""


def scout(says: str) -> dict[str, Any]:
    """A bot that answers with the same words each time."""
    return {"name": "Scout", "providers": {"options": {"llm": {"default": says}}}}


@asynccontextmanager
async def edited_elsewhere(
    database_url: str, redis_url: str, folder: Path
) -> AsyncIterator[tuple[Cluster, RedisProxy, RoomClient, aiohttp.ClientSession]]:
    """Server A runs the conversation "c" of ada and scout; B's way to Redis is a proxy."""
    async with (
        open_proxy(RedisProxy(redis_url)) as way,
        open_cluster(
            database_url,
            redis_url,
            folder,
            settings=_PATIENT,
            own=[{}, {"SWARMSTATE_REDIS_URL": way.url, "SWARMSTATE_REDIS_TIMEOUT": _WAITS}],
        ) as cluster,
        open_session(cluster.token) as session,
    ):
        made = {"id": "scout", **scout("One.")}
        async with session.post(f"{cluster.urls[0]}/api/v1/bots", json=made) as response:
            assert response.status == 201, await response.text()
        client = RoomClient(session, cluster.urls, "c")
        await client.begin(0)
        yield cluster, way, client, session


async def state_on_a(cluster: Cluster, session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get(f"{cluster.urls[0]}/api/v1/conversations/c") as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def test_edit_of_a_server_killed_between_commit_and_announcement_is_obeyed(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with edited_elsewhere(database_url, redis_url, tmp_path) as (cluster, way, ada, session):

        async def replied() -> bool:
            said = (await state_on_a(cluster, session))["messages"]
            return bool(said) and said[-1]["author"]["kind"] == "bot"

        async def applied() -> bool:
            (known,) = (
                one
                for one in (await state_on_a(cluster, session))["participants"]
                if one["id"] == "scout"
            )
            return bool(known["config_version"] == 2)

        await ada.say(0)
        await eventually(replied, what="an answer of the bot as it was")
        _, b = cluster.servers
        held = way.hold(b'["bot","scout",0,2]')
        url = f"{b.url}/api/v1/bots/scout"
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            edit = tasks.create_task(lost(session, url))
            await held.wait()
            b.kill()
        assert edit.done()
        assert await b.ended() == -9
        changes = await cluster.database.fetch("SELECT kind, id, version FROM outbox")
        took_s = await eventually(applied, what="the conversation runs with the edited bot")
        await ada.say(0)
        await eventually(replied, what="an answer of the bot as it is")
        given_up = await cluster.given_up(b)
        messages = (await state_on_a(cluster, session))["messages"]

    tell(f"obeyed {took_s:.3f} s after the death of the server that was edited")
    assert ("bot", "scout", 2) in map(tuple, changes), "it was committed"
    replies = [(one["text"], one["config_version"]) for one in messages[1::2]]
    assert replies == [("One.", 1), ("Two.", 2)]
    assert not given_up, "the outbox has told, not the death"


async def lost(session: aiohttp.ClientSession, url: str) -> None:
    """Edit the bot on a server that dies before it answers."""
    with pytest.raises(aiohttp.ClientError):
        await session.put(url, json=scout("Two."))
