"""A venue without sound: sessions begin there, and nobody hears anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import TextOutput

from src.agents.venue import Closed, Heard, Person


class QuietVenue:
    """`Venue` of these people."""

    name = "lesson"

    def __init__(self, *people: str) -> None:
        self._people = {id: Person(id, id.title(), None, f"visit-{id}") for id in people}
        self.listening: list[AgentSession[None]] = []
        """The sessions of ears, in order."""
        self.kept_out: set[str] = set()
        """Bots that stand at the door until `opened`."""
        self.opened = asyncio.Event()
        self.came: set[str] = set()
        """Bots that are at the door, or were."""

    @asynccontextmanager
    async def attended(self, wrote: Heard, closed: Closed) -> AsyncIterator[None]:
        yield

    def watch(self, changed: Callable[[], None]) -> None:
        """Nobody comes or goes."""

    def people(self) -> Mapping[str, Person]:
        return self._people

    async def listen(self, person_id: str, session: AgentSession[None], listener: Agent) -> None:
        await session.start(listener, record=False)
        self.listening.append(session)

    async def enter(self, bot_id: str, name: str) -> QuietMouth:
        self.came.add(bot_id)
        if bot_id in self.kept_out:
            await self.opened.wait()
        return QuietMouth()


class QuietMouth:
    """`Mouth` that nobody hears."""

    async def open(
        self, session: AgentSession[None], words: TextOutput, lost: Callable[[], None]
    ) -> None:
        await session.start(Agent(instructions=""), record=False)

    async def aclose(self) -> None:
        """Leave: it was hardly there."""


class QuietFloor:
    """`Floor` on which nobody speaks."""

    def person_starts(self, person_id: str) -> None:
        """Nobody is stopped."""

    def person_stops(self, person_id: str) -> None:
        """Nobody waits for it."""


async def unheard(person_id: str, id: str, text: str, began: datetime) -> None:
    """Be told of a turn in a place where there is none."""
    raise AssertionError("nobody says anything here")
