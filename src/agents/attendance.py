"""Who is there: room and conversation are brought together whenever either changes.

Who comes becomes a member and is listened to; a bot that is a member is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

import structlog

from src.agents.ears import Ears
from src.agents.errors import AgentsError
from src.agents.port import Conversation
from src.agents.venue import Person, Venue
from src.agents.voices import Voices
from src.state.background import background
from src.state.errors import StateError
from src.state.models import Event
from src.swarm.shapes.commands import AddParticipant, Command, NewParticipant, SetParticipantState
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0
"""How soon it is tried again when something could not be done."""


class Attendance:
    """The members of one room."""

    def __init__(
        self, venue: Venue, conversation: Conversation, ears: Ears, voices: Voices
    ) -> None:
        self._venue, self._conversation = venue, conversation
        self._ears, self._voices = ears, voices
        self._look_for_people, self._look_for_bots = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep room and conversation together for the length of the block."""
        self._venue.watch(self._look)
        self._ears.on_lost = self._look_for_people.set
        self._voices.on_lost = self._look_for_bots.set
        self._look()
        # Apart: bots come and go before what people are heard with is loaded.
        async with background(
            self._follow(),
            self._keep(self._look_for_people, self._people),
            self._keep(self._look_for_bots, self._bots),
        ):
            yield

    def _look(self) -> None:
        self._look_for_people.set()
        self._look_for_bots.set()

    async def _follow(self) -> None:
        async for event in self._conversation.changes():
            if isinstance(event, Event) and event.type.startswith("participant_"):
                self._look()

    async def _keep(
        self, wanted: asyncio.Event, look: Callable[[], Awaitable[Sequence[Exception]]]
    ) -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            problems = await look()
            for problem in problems:
                log.warning("room.incomplete", room=self._venue.name, error=str(problem))
            if problems:
                asyncio.get_running_loop().call_later(_AGAIN_S, wanted.set)

    async def _people(self) -> Sequence[Exception]:
        """Welcome who came and listen to them, and say goodbye to who left."""
        present = self._venue.people()
        problems: list[Exception] = []
        for id in sorted(present.keys() | self._ears.people):
            try:
                if id in present:
                    await self._welcome(await self._conversation.state(), present[id])
                    if id not in self._ears.people:
                        await self._ears.listen(id, await self._conversation.providers())
                else:
                    await self._ears.forget(id)
                    await self._goodbye(await self._conversation.state(), id)
            except (StateError, AgentsError) as error:
                problems.append(error)
        return problems

    async def _bots(self) -> Sequence[Exception]:
        try:
            state = await self._conversation.state()
        except StateError as error:
            return [error]
        bots = {bot.id: bot.name for bot in state.bots if bot.state != "left"}
        return await self._voices.bring(bots)

    async def _welcome(self, state: ConversationState, person: Person) -> None:
        member = state.participant(person.id)
        if member is None:
            new = NewParticipant(person.id, "person", person.name, user_id=person.user_id)
            await self._submit(AddParticipant(new), f"join-{person.visit}")
        elif member.state == "left":
            back = SetParticipantState(person.id, "ready")
            await self._submit(back, f"back-{person.visit}")

    async def _goodbye(self, state: ConversationState, person_id: str) -> None:
        member = state.participant(person_id)
        if member is not None and member.state != "left":
            place = sha256(f"{state.version.token} {person_id}".encode()).hexdigest()[:24]
            await self._submit(SetParticipantState(person_id, "left"), f"left-{place}")

    async def _submit(self, command: Command, key: str) -> None:
        await self._conversation.submit(command, key=key, actor="room")
