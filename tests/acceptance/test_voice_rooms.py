"""Two servers that host rooms, a real LiveKit, a person with a voice; then the host is killed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import pytest

from src.demo.person import Person, joined_by
from src.demo.processes import ServerProcess
from src.swarm.rooms.settings import LiveKitSettings
from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.support.room_clients import open_session
from tests.support.stage import Tell

pytestmark = needs_livekit

HELLO_HZ = 700.0
LONG_HZ = 900.0
SAYS = "I am Scout, your guide."
STORY = "This is a long story. " * 20
_WRITES = 200


def bot(name: str, says: str, hz: float) -> dict[str, Any]:
    script = {"rules": [{"when": "story", "say": STORY}], "default": says}
    options = {"llm": script, "tts": {"hz": hz}}
    return {"id": name.lower(), "name": name, "providers": {"options": options}}


@pytest.fixture
async def cluster(
    livekit: LiveKitSettings, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Cluster]:
    url, key, secret = livekit.account
    rooms = {
        "SWARMSTATE_ROOMS_DRAIN_TIMEOUT": "PT1S",
        "SWARMSTATE_LIVEKIT_URL": url,
        "SWARMSTATE_LIVEKIT_API_KEY": key,
        "SWARMSTATE_LIVEKIT_API_SECRET": secret,
    }
    async with open_cluster(
        database_url, redis_url, tmp_path, settings={**QUICK, **rooms}, rooms=True
    ) as cluster:
        yield cluster


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, json=body) as response:
        assert response.status in (200, 201), await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def turns(session: aiohttp.ClientSession, url: str, id: str) -> list[dict[str, Any]]:
    """What a server shows of a conversation, the oldest first; nothing while it has no answer."""
    async with session.get(f"{url}/api/v1/conversations/{id}/messages") as response:
        if response.status != 200:
            return []
        return list(reversed((await response.json())["messages"]))


async def sessions(session: aiohttp.ClientSession, url: str, id: str) -> list[dict[str, Any]]:
    """What a server says the sessions in a conversation's room were."""
    async with session.get(f"{url}/api/v1/conversations/{id}/sessions") as response:
        return list((await response.json())["sessions"]) if response.status == 200 else []


def resident_mb(server: ServerProcess) -> float:
    """How much memory a server has."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def heard_of_story(session: aiohttp.ClientSession, url: str, id: str) -> int:
    """How many characters a server says were heard of what is being said."""
    async with session.get(f"{url}/api/v1/conversations/{id}") as response:
        speech = (await response.json()).get("speech") if response.status == 200 else None
        return 0 if speech is None else int(speech["heard"])


@dataclass
class Lesson:
    """Zoe in a room with Scout."""

    cluster: Cluster
    session: aiohttp.ClientSession
    id: str
    zoe: Person
    there_s: float
    """How long it took Scout to come."""

    async def shown_by(self, url: str) -> list[dict[str, Any]]:
        return await turns(self.session, url, self.id)

    async def host(self) -> tuple[ServerProcess, ServerProcess]:
        """Return the server that hosts the room, and the other one."""
        host = await self.cluster.busiest()
        assert host is not None
        [other] = [one for one in self.cluster.servers if one is not host]
        return host, other

    async def heard_again(self, since: float) -> float:
        """Speak until Scout answers again; return how long after a moment it sounds."""
        heard = self.zoe.seconds_of("bot-scout")
        while self.zoe.seconds_of("bot-scout") < heard + 1.0:
            # Until the next host hears her, nobody does.
            await self.zoe.say(HELLO_HZ)
            assert time.monotonic() < since + 60, "nobody answered any more"
        return self.zoe.heard["bot-scout"].first_after(since) - since


@pytest.fixture
async def lesson(cluster: Cluster) -> AsyncIterator[Lesson]:
    """A room that was begun on the first server, with one turn and its answer."""
    one = cluster.urls[0]
    hearing = {"stt": {"phrases": {"700": "Hello there", "900": "Tell me a story"}}}
    async with open_session(cluster.token) as session:
        await post(session, f"{one}/api/v1/bots", bot("Scout", SAYS, 400.0))
        team = {
            "id": "crew",
            "name": "Crew",
            "members": [{"bot": "scout"}],
            "defaults": {"providers": {"options": hearing}},
        }
        await post(session, f"{one}/api/v1/teams", team)
        begun = await post(
            session, f"{one}/api/v1/agent/voice/automatic", {"team": "crew", "user": "zoe"}
        )
        async with asyncio.timeout(150), joined_by(begun["room_url"], begun["token"]) as zoe:
            there_s = await eventually(
                lambda: "bot-scout" in zoe.room.remote_participants, within_s=20, what="the bot"
            )
            await zoe.say(HELLO_HZ)
            await eventually(lambda: zoe.seconds_of("bot-scout") > 1.0, what="an answer by voice")
            yield Lesson(cluster, session, begun["conversation_id"], zoe, there_s)


async def test_host_holds_no_weights_that_nobody_uses(lesson: Lesson, tell: Tell) -> None:
    host, _ = await lesson.host()
    mb = resident_mb(host)
    tell(f"a server with one room of sound holds {mb:.0f} MB")
    assert mb < 420, "the weights for the ends of turns alone are 244 MB"


async def test_room_is_one_conversation_on_all_servers_and_outlives_its_host(
    lesson: Lesson, tell: Tell
) -> None:
    cluster, session, id, zoe = lesson.cluster, lesson.session, lesson.id, lesson.zoe

    async def both_know() -> bool:
        seen = [await turns(session, url, id) for url in cluster.urls]
        return all(
            [(turn["author"]["id"], turn["text"]) for turn in shown]
            == [("zoe", "Hello there"), ("scout", SAYS)]
            for shown in seen
        )

    await eventually(both_know, what="the same two turns on both servers")

    host = await cluster.busiest()
    assert host is not None
    [other] = [url for url in cluster.urls if url != host.url]
    async with session.get(f"{host.url}/status/models") as response:
        shown = (await response.json())["models"]
    assert [(one["stage"], one["name"], one["users"]) for one in shown] == [
        ("stt", "offline/phrases", 1),
        ("tts", "offline/tone", 1),
    ]
    await zoe.say(LONG_HZ)

    async def in_the_story() -> bool:
        return await heard_of_story(session, other, id) > 0

    await eventually(in_the_story, 30, what="a sentence that is heard, on the other server")
    heard = zoe.seconds_of("bot-scout")
    host.kill()
    killed = time.monotonic()
    # Nobody says anything: the bot that was cut off begins anew by itself.
    await eventually(lambda: zoe.seconds_of("bot-scout") > heard + 1.0, 60, what="the story anew")
    silent_s = zoe.heard["bot-scout"].first_after(killed + 0.5) - killed

    async def is_whole() -> bool:
        # Until the next host hears her, nobody does.
        await zoe.say(HELLO_HZ)
        shown = await turns(session, other, id)
        return [turn["text"] for turn in shown].count(SAYS) >= 2

    await eventually(is_whole, 60, what="the later turns beside the earlier ones")
    shown = await turns(session, other, id)
    asked = next(turn for turn in shown if turn["text"] == "Tell me a story")
    told = [turn for turn in shown if turn.get("reply_to") == asked["id"]]
    assert [turn.get("cut_off", False) for turn in told] == [True, False]
    assert told[0]["interrupted"]
    assert told[0]["text"] == STORY
    assert 0 < told[0]["spoken_until"] < len(STORY)
    room = f"{other}/api/v1/rooms/{zoe.room.name}"
    async with session.delete(room) as response:
        assert response.status == 204, await response.text()

    async def is_kept() -> bool:
        return len(await sessions(session, other, id)) == 1

    await eventually(is_kept, 60, what="what the session was, though its host had changed")
    [kept] = await sessions(session, other, id)
    shown = await turns(session, other, id)
    assert kept["turns"] == len(shown)
    assert {talk["id"] for talk in kept["speakers"]} == {"zoe", "scout"}
    tell(f"the bot was there after {lesson.there_s:.1f} s; heard again {silent_s:.1f} s later")


async def test_host_that_is_told_to_stop_sends_the_swarm_on_before_it_goes(
    lesson: Lesson, tell: Tell
) -> None:
    host, other = await lesson.host()
    sent = [server.log.read_text().count("swarm.sent") for server in (host, other)]
    began = time.monotonic()
    await host.stop()
    stopped = time.monotonic()
    silent_s = await lesson.heard_again(stopped)
    # Once, by itself, and nobody had to find out that the room has no swarm.
    logs = [server.log.read_text() for server in (host, other)]
    assert [log.count("swarm.sent") for log in logs] == [sent[0] + 1, sent[1]]
    assert "rooms.cut" not in logs[0]
    assert "server.declared_dead" not in logs[1]
    tell(f"it took {stopped - began:.1f} s to go; heard again {silent_s:.1f} s later")


async def test_other_servers_read_and_write_what_a_worker_hosts(lesson: Lesson, tell: Tell) -> None:
    """All through a story that is told aloud, by the server that does not host the room."""
    _, other = await lesson.host()
    conversation = f"{other.url}/api/v1/conversations/{lesson.id}"
    count = {"type": "blackboard", "increment": [{"id": "n"}]}
    wrote_ms, read_ms = [], []
    await lesson.zoe.say(LONG_HZ)
    await eventually(lambda: lesson.zoe.seconds_of("bot-scout") > 2.5, 30, what="the story")
    for _ in range(_WRITES):
        began = time.perf_counter()
        receipt = await post(lesson.session, f"{conversation}/commands", count)
        logged = time.perf_counter()
        seen = {"X-Swarm-Version": receipt["version"]}
        async with lesson.session.get(conversation, headers=seen) as answer:
            state = await answer.json()
        wrote_ms.append(1000 * (logged - began))
        read_ms.append(1000 * (time.perf_counter() - logged))
    assert [one["value"] for one in state["blackboard"] if one["id"] == "n"] == [_WRITES]
    for what, found in (("written", wrote_ms), ("read", read_ms)):
        *_, p99 = quantiles(found, n=100)
        tell(f"{what} through the other server: p50 {median(found):.1f} ms, p99 {p99:.1f} ms")
