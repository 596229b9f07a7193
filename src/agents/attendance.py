"""Who is there: room and conversation are brought together whenever either changes.

Who joins the room becomes a member and is listened to; a bot that is a member joins the room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

import structlog
from livekit import rtc

from src.agents.ears import Ears
from src.agents.errors import AgentsError
from src.agents.people import is_person, people_in, user_of
from src.agents.port import Conversation
from src.agents.voices import Voices
from src.state.background import background
from src.state.errors import StateError
from src.swarm.shapes.commands import AddParticipant, Command, NewParticipant, SetParticipantState
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0
"""How soon it is tried again when something could not be done."""


class Attendance:
    """The members of one room."""

    def __init__(
        self, room: rtc.Room, conversation: Conversation, ears: Ears, voices: Voices
    ) -> None:
        self._room, self._conversation = room, conversation
        self._ears, self._voices = ears, voices
        self._looks = asyncio.Event()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep room and conversation together for the length of the block."""
        for event in ("participant_connected", "participant_disconnected"):
            self._room.on(event, lambda *_: self._looks.set())
        self._room.on("track_published", _subscribe)
        for person in self._room.remote_participants.values():
            for track in person.track_publications.values():
                _subscribe(track, person)
        self._voices.on_lost = self._looks.set
        self._looks.set()
        async with background(self._follow(), self._keep()):
            yield

    async def _follow(self) -> None:
        async for event in self._conversation.changes():
            if event.startswith("participant_"):
                self._looks.set()

    async def _keep(self) -> None:
        while True:
            await self._looks.wait()
            self._looks.clear()
            problems = [*await self._people(), *await self._bots()]
            for problem in problems:
                log.warning("room.incomplete", room=self._room.name, error=str(problem))
            if problems:
                asyncio.get_running_loop().call_later(_AGAIN_S, self._looks.set)

    async def _people(self) -> Sequence[Exception]:
        """Welcome who came and listen to them, and say goodbye to who left."""
        present = people_in(self._room)
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

    async def _welcome(self, state: ConversationState, person: rtc.RemoteParticipant) -> None:
        member = state.participant(person.identity)
        if member is None:
            new = NewParticipant(
                person.identity, "person", person.name or person.identity, user_id=user_of(person)
            )
            await self._submit(AddParticipant(new), f"join-{person.sid}")
        elif member.state == "left":
            back = SetParticipantState(person.identity, "ready")
            await self._submit(back, f"back-{person.sid}")

    async def _goodbye(self, state: ConversationState, person_id: str) -> None:
        member = state.participant(person_id)
        if member is not None and member.state != "left":
            place = sha256(f"{state.version.token} {person_id}".encode()).hexdigest()[:24]
            await self._submit(SetParticipantState(person_id, "left"), f"left-{place}")

    async def _submit(self, command: Command, key: str) -> None:
        await self._conversation.submit(command, key=key, actor="room")


def _subscribe(track: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
    """Hear people, and not the bots: those are heard as text."""
    if is_person(participant) and track.kind == rtc.TrackKind.KIND_AUDIO:
        track.set_subscribed(True)
