"""Rooms of sound on one server, one after the other: what each further one costs.

Each has one bot and one person, who publishes a microphone and hears the bot through a real
livekit-server. Whenever a room has come, everybody speaks at once, and every bot answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec

from src.demo.person import Person, joined_by
from src.embedded.service import free_port
from src.swarm.rooms.settings import LiveKitSettings
from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.stores import open_own_stores
from tests.support import livekit
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.room_clients import open_session

_HELLO_HZ, _BOT_HZ = 700.0, 400.0
_SAY_S = 0.4
_SAYS = "I am Scout, your guide."
_SPOKEN_S = len(_SAYS) * 0.06
_ANSWER_S = 20.0
_ROOMS = 40
_FIRST = 2
"""Memory is compared from this room on: with the first what all share is loaded."""
_SETTLE_S = 2.0

_ROOM_BYTES = 15_000_000
_START_S = 0.2
_LATENCY_S = 1.5
"""From the end of what somebody says to the first sound of the answer, the half second of silence
by which an ear knows the end included: at p95 of a round."""


class Room:
    """One room with its person."""

    def __init__(self, begun: dict[str, Any], person: Person, there_s: float) -> None:
        self.name, self.person, self.there_s = person.room.name, person, there_s
        self.conversation_id: str = begun["conversation_id"]

    async def talk(self) -> Answer:
        """Say something, and hear the answer to its end."""
        bot = self.person.heard.get("bot-scout")
        before = 0 if bot is None else len(bot.sounds)
        heard_s = self.person.seconds_of("bot-scout")
        ended = await self.person.say(_HELLO_HZ, _SAY_S) + _SAY_S
        # Two pieces may be missing at the ends; what is missing between them is a gap.
        whole_s = heard_s + _SPOKEN_S - 0.1
        await eventually(
            lambda: self.person.seconds_of("bot-scout") >= whole_s, _ANSWER_S, what="an answer"
        )
        sounds = self.person.heard["bot-scout"].sounds[before:]
        return Answer(sounds[0][0] - ended, len(sounds) - 1)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """How a bot answered."""

    latency_s: float
    gaps: int
    """Breaks of 100 ms and more within it."""


class Round(msgspec.Struct, frozen=True, gc=False):
    """What everybody heard when so many rooms talked at once, and what the server held then."""

    rooms: int
    latency_s: float
    """At p95."""
    gaps: int
    unanswered: int
    resident: int

    @property
    def good(self) -> bool:
        return self.latency_s < _LATENCY_S and not self.gaps and not self.unanswered


async def voice_sessions(place: Place, *, most: int) -> Result:
    """Add rooms until two rounds are worse than the bounds, or there are so many."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_own_stores(place))
        url = stack.enter_context(livekit.running(place.folder, free_port()))
        settings = _settings(livekit.settings_for(url), most)
        cluster = await stack.enter_async_context(
            open_cluster(
                stores.database_url,
                stores.redis_url,
                place.folder,
                settings=settings,
                count=1,
                rooms=True,
            )
        )
        session = await stack.enter_async_context(open_session(cluster.token))
        await _configure(session, cluster.urls[0])
        rooms: list[Room] = []
        rounds: list[Round] = []
        while len(rooms) < most and (len(rounds) < 2 or any(one.good for one in rounds[-2:])):
            if place.stop.is_set():
                raise Stopped
            rooms.append(await _begin(stack, session, cluster.urls[0], len(rooms)))
            rounds.append(await _round(cluster, rooms))
            place.tell(
                f"{len(rooms)} rooms, an answer after {rounds[-1].latency_s:.2f} s, "
                f"{rounds[-1].resident / 1e6:.0f} MB"
            )
        [server] = cluster.servers
        starts_s = starts_of(server.log)
    return measured([room.there_s for room in rooms], rounds, starts_s)


def _settings(account: LiveKitSettings, most: int) -> dict[str, str]:
    url, key, secret = account.account
    return {
        "SWARMSTATE_LIVEKIT_URL": url,
        "SWARMSTATE_LIVEKIT_API_KEY": key,
        "SWARMSTATE_LIVEKIT_API_SECRET": secret,
        "SWARMSTATE_ROOMS_SESSIONS": str(most + 1),
        "SWARMSTATE_ROOMS_DRAIN_TIMEOUT": "PT1S",
    }


async def _configure(session: aiohttp.ClientSession, url: str) -> None:
    voice = {"llm": {"default": _SAYS}, "tts": {"hz": _BOT_HZ, "ms_per_char": 60}}
    hearing = {"stt": {"phrases": {str(int(_HELLO_HZ)): "Hello there"}}}
    bot = {"id": "scout", "name": "Scout", "providers": {"options": voice}}
    team = {
        "id": "crew",
        "name": "Crew",
        "members": [{"bot": "scout"}],
        "defaults": {"providers": {"options": hearing}},
    }
    await _post(session, f"{url}/api/v1/bots", bot)
    await _post(session, f"{url}/api/v1/teams", team)


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(url, json=body) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status < 300, answer
        return answer


async def _begin(
    stack: AsyncExitStack, session: aiohttp.ClientSession, url: str, number: int
) -> Room:
    """Begin a room as a front end does, and wait for its bot."""
    began = time.monotonic()
    asked = {"team": "crew", "user": f"zoe-{number}"}
    begun = await _post(session, f"{url}/api/v1/agent/voice/automatic", asked)
    zoe = await stack.enter_async_context(joined_by(begun["room_url"], begun["token"]))
    await eventually(
        lambda: "bot-scout" in zoe.room.remote_participants, within_s=_ANSWER_S, what="the bot"
    )
    return Room(begun, zoe, time.monotonic() - began)


async def _round(cluster: Cluster, rooms: list[Room]) -> Round:
    answers = await asyncio.gather(*(room.talk() for room in rooms), return_exceptions=True)
    heard = [one for one in answers if isinstance(one, Answer)]
    for one in answers:
        if isinstance(one, BaseException) and not isinstance(one, AssertionError):
            raise one
    await asyncio.sleep(_SETTLE_S)
    return Round(
        len(rooms),
        _p95([one.latency_s for one in heard]),
        sum(one.gaps for one in heard),
        len(answers) - len(heard),
        _resident(cluster),
    )


def _resident(cluster: Cluster) -> int:
    [server] = cluster.servers
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096


def starts_of(log: Path) -> list[float]:
    """Return what of each room's start was ours: all but the entering of rooms at LiveKit."""
    ours_s: dict[str, float] = {}
    for line in _lines(log):
        if line.get("event") in ("room.hosted", "room.ready"):
            spent_s = line["took_s"] - line["entering_s"]
            ours_s[line["room"]] = ours_s.get(line["room"], 0.0) + spent_s
    return list(ours_s.values())


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_bytes().splitlines():
        if line.startswith(b"{"):
            yield msgspec.json.decode(line)


def _p95(values: list[float]) -> float:
    if len(values) < 2:
        return values[0] if values else float("inf")
    return quantiles(values, n=20, method="inclusive")[-1]


def measured(there_s: list[float], rounds: list[Round], starts_s: list[float]) -> Result:
    """Say what the rounds were, and which of the required figures hold."""
    good = max((one.rooms for one in rounds if one.good), default=0)
    start_s = _p95(starts_s)
    worst, each = rounds[-1], _further(rounds)
    ended = (
        "more were not tried"
        if worst.good
        else f"with {worst.rooms} an answer began after {worst.latency_s:.2f} s at p95, with "
        f"{worst.gaps} gaps and {worst.unanswered} not heard"
    )
    heard = (
        f"one server, LiveKit, the stores and all people on this machine: {good} rooms of sound "
        f"with one bot and one person each, all speaking at once, within {_LATENCY_S} s to the "
        f"answer at p95 and without a gap of 100 ms; {ended}"
    )
    memory = (
        "what a further room takes cannot be said of so few"
        if each is None
        else f"a further room took {each / 1e6:.1f} MB (< {_ROOM_BYTES / 1e6:.0f} MB "
        f"{_holds(each < _ROOM_BYTES)})"
    )
    cost = (
        f"{memory}; of its start {start_s * 1000:.0f} ms were ours at p95 "
        f"(< {_START_S * 1000:.0f} ms {_holds(start_s < _START_S)})"
    )
    return Result(
        counts={"rooms_of_sound": len(rounds)},
        figures={
            "voice_start_ours_s": starts_s,
            "voice_bot_there_s": there_s,
            "voice_answer_s": [one.latency_s for one in rounds],
            "voice_room_bytes": [] if each is None else [each],
        },
        violations=[] if good else ["not even one room of sound was answered in time"],
        notes=[heard, cost],
    )


def _further(rounds: list[Round]) -> float | None:
    """Return the bytes of each room after the second; None: there was none."""
    if len(rounds) <= _FIRST:
        return None
    first, last = rounds[_FIRST - 1], rounds[-1]
    return (last.resident - first.resident) / (last.rooms - first.rooms)


def _holds(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


async def _forty_rooms(place: Place) -> Result:
    return await voice_sessions(place, most=_ROOMS)


ACTS = (Act("voice-sessions", "load", _forty_rooms, about_s=400, alone=True),)
