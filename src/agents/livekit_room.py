"""A room on LiveKit as a venue: people are its participants, and each bot is one more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import TextOutput
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions, TextOutputOptions

from src.agents.connections import Connect
from src.agents.errors import VoiceFailed
from src.agents.people import find_person, is_person, member_of, people_in, user_of
from src.agents.venue import Closed, Heard, Person
from src.state.background import end
from src.swarm.rooms.protocols import BOT_PREFIX

log = structlog.get_logger(__name__)

_CHAT_S = 10.0
"""How long a text may take to arrive."""
_ROOM_IS_OVER = (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED)


class LiveKitRoom:
    """`Venue` on LiveKit."""

    def __init__(self, room: rtc.Room, connect: Connect) -> None:
        self._room, self._connect = room, connect

    @property
    def name(self) -> str:
        return self._room.name

    @asynccontextmanager
    async def attended(self, wrote: Heard, closed: Closed) -> AsyncIterator[None]:
        reading: set[asyncio.Task[None]] = set()

        def chatted(reader: rtc.TextStreamReader, person_id: str) -> None:
            # What somebody wrote in the room's chat, as LiveKit's own front ends do.
            task = asyncio.create_task(self._read(reader, person_id, wrote))
            reading.add(task)
            task.add_done_callback(reading.discard)

        self._room.on("disconnected", lambda reason: closed(reason in _ROOM_IS_OVER))
        self._room.register_text_stream_handler("lk.chat", chatted)
        try:
            yield
        finally:
            await end(reading)

    async def _read(self, reader: rtc.TextStreamReader, person_id: str, wrote: Heard) -> None:
        came = datetime.now(UTC)
        try:
            async with asyncio.timeout(_CHAT_S):
                text = (await reader.read_all()).strip()
        except TimeoutError:
            log.warning("chat.cut", room=self.name, person=person_id)
            return
        if text and find_person(self._room, person_id) is not None:
            await wrote(member_of(person_id), reader.info.stream_id, text, came)

    def watch(self, changed: Callable[[], None]) -> None:
        for event in ("participant_connected", "participant_disconnected"):
            self._room.on(event, lambda *_: changed())
        self._room.on("track_published", _subscribe)
        # What is asked for while LiveKit is connected to anew is lost.
        self._room.on("reconnected", self._subscribe)
        self._subscribe()

    def _subscribe(self) -> None:
        for person in self._room.remote_participants.values():
            for track in person.track_publications.values():
                _subscribe(track, person)

    def people(self) -> Mapping[str, Person]:
        return {
            id: Person(id, one.name or id, user_of(one), one.sid)
            for id, one in people_in(self._room).items()
        }

    async def listen(self, person_id: str, session: AgentSession[None], listener: Agent) -> None:
        person = people_in(self._room).get(person_id)
        await session.start(
            listener,
            room=self._room,
            room_options=RoomOptions(
                participant_identity=person_id if person is None else person.identity,
                # Nothing was said before the ear was there; who comes is heard from then on.
                audio_input=AudioInputOptions(pre_connect_audio=False),
                text_input=False,
                audio_output=False,
                close_on_disconnect=False,
            ),
            record=False,
            session_host=False,
        )

    async def enter(self, bot_id: str, name: str) -> LiveKitMouth:
        try:
            return LiveKitMouth(await self._connect(BOT_PREFIX + bot_id, name))
        except (rtc.ConnectError, TimeoutError, OSError) as error:
            raise VoiceFailed(bot_id, repr(error)) from error


class LiveKitMouth:
    """`Mouth` of a bot that is a participant of its own."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room

    async def open(
        self, session: AgentSession[None], words: TextOutput, lost: Callable[[], None]
    ) -> None:
        self._room.on("disconnected", lambda *_: lost())
        await session.start(
            Agent(instructions=""),
            room=self._room,
            room_options=RoomOptions(
                audio_input=False,
                text_input=False,
                text_output=TextOutputOptions(next_in_chain=words),
                # A room lasts as long as LiveKit says, not as long as one person stays.
                close_on_disconnect=False,
            ),
            record=False,
            session_host=False,
        )

    async def aclose(self) -> None:
        await self._room.disconnect()


def _subscribe(track: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
    """Hear people, and not the bots: those are heard as text."""
    if is_person(participant) and track.kind == rtc.TrackKind.KIND_AUDIO:
        track.set_subscribed(True)
