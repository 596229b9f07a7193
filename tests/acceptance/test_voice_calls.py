"""Two servers without LiveKit, and a person on a call to one of them, which then goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from src.agents.providers.tone import SAMPLE_RATE
from src.api.auth.principals import Role
from src.demo.processes import ServerProcess
from tests.support.cluster_processes import QUICK, Cluster, open_cluster, token_of
from tests.support.cluster_settings import eventually
from tests.support.room_clients import open_session
from tests.support.talker import Talker

HELLO_HZ = 700.0
STORY = "This is a long story. " * 20
VOICED = {
    "stt": "offline/phrases",
    "tts": "offline/tone",
    "options": {"stt": {"phrases": {"700": "Tell me a story"}}, "llm": {"default": STORY}},
}


@pytest.fixture
async def cluster(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(
        database_url, redis_url, tmp_path, settings=QUICK, rooms=True
    ) as cluster:
        yield cluster


@asynccontextmanager
async def story(cluster: Cluster) -> AsyncIterator[tuple[Talker, aiohttp.ClientSession]]:
    """Zoe on a call to the first server, in the middle of what Scout tells her."""
    people = [{"id": "zoe", "kind": "person", "name": "Zoe"}]
    scout = {"id": "scout", "kind": "bot", "name": "Scout"}
    first = cluster.urls[0]
    async with open_session(cluster.token) as http, open_session(token_of("zoe", Role.MEMBER)) as z:
        for path, body in (
            ("bots", {"id": "scout", "name": "Scout", "providers": VOICED}),
            ("teams", {"id": "crew", "name": "Crew", "defaults": {"providers": VOICED}}),
            (
                "conversations",
                {"id": "c", "config": {"team_id": "crew"}, "participants": [*people, scout]},
            ),
        ):
            async with http.post(f"{first}/api/v1/{path}", json=body) as made:
                assert made.status == 201, await made.text()
        way = f"{first}/ws/live?conversation_id=c"
        async with asyncio.timeout(60), z.ws_connect(way) as socket:
            zoe = Talker(socket)
            begun = await zoe.begin(sample_rate=SAMPLE_RATE)
            assert begun["state"] == "on", begun
            await zoe.say(HELLO_HZ)
            await zoe.until("sound")
            await zoe.until("speech_heard")
            yield zoe, http


async def get(
    http: aiohttp.ClientSession, server: ServerProcess, what: str
) -> list[dict[str, Any]]:
    """What a server shows of the conversation; nothing while it has no answer."""
    async with http.get(f"{server.url}/api/v1/conversations/c/{what}") as response:
        return list((await response.json())[what]) if response.status == 200 else []


async def test_server_that_is_told_to_stop_hangs_up_and_keeps_what_was_heard(
    cluster: Cluster,
) -> None:
    one, two = cluster.servers
    async with story(cluster) as (zoe, http):
        stopping = asyncio.create_task(one.stop())
        over = await zoe.until("audio")
        assert over["state"] == "off"
        assert await stopping, one.log.read_text()[-2000:]

        async def is_kept() -> bool:
            return len(await get(http, two, "sessions")) == 1

        await eventually(is_kept, within_s=30, what="the session, on the other server")
        [session] = await get(http, two, "sessions")
        answer, question = (await get(http, two, "messages"))[:2]
    assert question["text"] == "Tell me a story"
    assert (answer["text"], answer["interrupted"]) == (STORY, True)
    assert 0 < answer["spoken_until"] < len(STORY)
    assert session["turns"] == 2


async def test_server_that_is_killed_leaves_the_turn_that_was_heard_as_cut_off(
    cluster: Cluster,
) -> None:
    one, two = cluster.servers
    async with story(cluster) as (_, http):
        one.kill()

        async def is_cut_off() -> bool:
            return any(turn.get("cut_off") for turn in await get(http, two, "messages"))

        await eventually(is_cut_off, within_s=60, what="the turn, on the other server")
        turns = await get(http, two, "messages")
    [cut] = [turn for turn in turns if turn.get("cut_off")]
    assert (cut["text"], cut["interrupted"]) == (STORY, True)
    assert 0 < cut["spoken_until"] < len(STORY)
    assert turns[-1]["text"] == "Tell me a story"
