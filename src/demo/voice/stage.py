"""What the acts with voices have: a room with three bots, two people in it, clients of the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from livekit import rtc

from src.demo.client import Client
from src.demo.errors import NotAnswered
from src.demo.person import Heard, Person, joined_by
from src.demo.processes import ServerProcess
from src.demo.screen import Audience
from src.swarm.rooms.protocols import BOT_PREFIX, agent_of

_ENTER_S = 30.0
_POLL_S = 0.02
_TURNS = 200
_SILENCE_S = 0.3
TEAM = "demo-voice"
STORY = "Once upon a time there was a launch that nobody had planned. " * 8
PHRASES = {
    "@all, what is the plan?": 700,
    "Ada, tell us the story.": 900,
    "Thank you, that will do.": 1100,
    "Ben, what does it cost?": 1300,
}
"""What people say, and the tone that says it."""
PLAN, TELL, ENOUGH, COST = PHRASES
BOTS: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "ada": (400, {"plan": "We meet on the fourth.", "story": STORY}),
    "ben": (500, {"plan": "It is paid for.", "cost": "Eight hundred."}),
    "cleo": (600, {"plan": "I write it down."}),
}
"""The pitch of each bot's voice, and what it answers to a word; it is silent to all else."""
_MS_PER_CHAR = 45


class VoiceStage:
    """Handed from act to act; acts leave their figures here."""

    def __init__(
        self,
        servers: Sequence[ServerProcess],
        clients: Sequence[Client],
        room_id: str,
        people: Sequence[Person],
        audience: Audience,
    ) -> None:
        self.servers, self.clients = servers, clients
        self.room_id = room_id
        self.zoe, self.max = people
        self.audience = audience
        self.said: list[tuple[str, str]] = []
        """(person, text) of what was said and understood, in order."""
        self.figures: dict[str, float] = {}
        self.before_kill = 0
        """Turns that were there when the host was killed ..."""
        self.survivor = clients[0]
        """... and who is left."""

    @property
    def bots_heard(self) -> Sequence[Heard]:
        """What Zoe has heard of each bot."""
        return [self.zoe.heard[BOT_PREFIX + id] for id in BOTS if BOT_PREFIX + id in self.zoe.heard]

    def first_of_bots(self, moment: float) -> float | None:
        """When the first bot began to sound after a moment; None: none has yet."""
        begins = (began for heard in self.bots_heard for began, _ in heard.sounds)
        return min((began for began in begins if began > moment), default=None)

    def silent(self) -> bool:
        """Whether no bot was heard for a moment: what follows is a sound of its own."""
        ends = [heard.sounds[-1][1] for heard in self.bots_heard if heard.sounds]
        return time.monotonic() - max(ends, default=0.0) > _SILENCE_S

    async def say(self, person: Person, text: str) -> float:
        """Have a person say something in the room; return when it began."""
        self.audience.say(person.identity.title(), "room", text)
        self.said.append((person.identity, text))
        return await person.say(PHRASES[text])

    async def turns(self, client: Client) -> list[dict[str, Any]]:
        """Return what a server shows of the conversation, the oldest first."""
        return list(reversed(await client.messages(self.room_id, _TURNS)))

    async def host(self) -> tuple[int, int]:
        """Return which server hosts the room, and which does not.

        Raises:
            NotAnswered: nobody does.
        """
        agent = (await self.clients[0].request("GET", f"/rooms/{self.room_id}"))["agent"]
        for place, client in enumerate(self.clients):
            status = await client.request("GET", "/status", root="")
            if agent.startswith(agent_of(status["server_id"])):
                return place, 1 - place
        raise NotAnswered(f"no server hosts the room; its agent is {agent!r}")


async def until(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float, what: str
) -> None:
    """Wait until something holds.

    Raises:
        NotAnswered: it did not in time; says `what`.
    """
    deadline = time.monotonic() + within_s
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        if time.monotonic() > deadline:
            raise NotAnswered(f"not within {within_s:.0f} s: {what}")
        await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def open_stage(
    servers: Sequence[ServerProcess], clients: Sequence[Client], audience: Audience
) -> AsyncIterator[VoiceStage]:
    """Make bots, team and room over the API, and let two people in, for the block.

    Raises:
        NotAnswered: a server refused, or the bots did not come.
    """
    client = clients[0]
    for id in BOTS:
        await client.request("POST", "/bots", _bot_body(id))
    team = {
        "id": TEAM,
        "name": "Demo",
        "members": [{"bot": id} for id in BOTS],
        "defaults": {"providers": {"options": {"stt": {"phrases": _heard_as()}}}},
    }
    await client.request("POST", "/teams", team)
    begun = await client.request("POST", "/agent/voice/automatic", {"team": TEAM, "user": "zoe"})
    second = await client.request(
        "POST",
        "/getToken",
        {"room_name": begun["session_id"], "participant_identity": "max"},
        root="/api",
    )
    async with AsyncExitStack() as stack:
        people = []
        for token in (begun["token"], second["participant_token"]):
            try:
                async with asyncio.timeout(_ENTER_S):
                    entering = joined_by(begun["room_url"], token)
                    people.append(await stack.enter_async_context(entering))
            except (rtc.ConnectError, TimeoutError) as error:
                raise NotAnswered(f"LiveKit let nobody in: {error!r}") from error
        zoe, max_ = people
        there = {BOT_PREFIX + id for id in BOTS}
        for person in people:
            present = person.room.remote_participants
            await until(lambda seen=present: there <= set(seen), _ENTER_S, "three bots in the room")
        await until(lambda: "max" in zoe.heard and "zoe" in max_.heard, _ENTER_S, "two microphones")
        yield VoiceStage(servers, clients, begun["session_id"], people, audience)


def script(answers: Mapping[str, str]) -> dict[str, object]:
    """Return the offline model's options: what it says when a word is in what was said."""
    return {"rules": [{"when": word, "say": say} for word, say in answers.items()], "default": ""}


def _bot_body(id: str) -> dict[str, object]:
    hz, answers = BOTS[id]
    options = {"llm": script(answers), "tts": {"hz": hz, "ms_per_char": _MS_PER_CHAR}}
    providers = {"llm": "offline/rules", "options": options}
    return {"id": id, "name": id.title(), "mode": "proactive", "providers": providers}


def _heard_as() -> dict[str, str]:
    return {str(hz): text for text, hz in PHRASES.items()}
