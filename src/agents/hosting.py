"""One job is one room: people are heard, bots are given voices, and the conversation is hosted.

It lasts as long as LiveKit's room does. What was said last is logged before it is over.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

import structlog
from livekit import rtc

from src.agents.attendance import Attendance
from src.agents.connections import Connect
from src.agents.ears import Ears
from src.agents.people import find_person
from src.agents.port import Conversation
from src.agents.providers.plugins import Plugins
from src.agents.voices import Voices
from src.state.background import background, end
from src.state.errors import Refused, StateError
from src.swarm.shapes.commands import ChangeStatus, PostMessage, Speaker

log = structlog.get_logger(__name__)

_UNSAID = 1000
"""Turns of people that may wait to be logged; more are left out, and counted."""
_CHAT_S = 10.0
"""How long a text may take to arrive."""
_LAST_WORDS_S = 10.0
"""How long the turns that wait when a room ends may take to be logged."""


_ROOM_IS_OVER = (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED)


class RoomHost:
    """One LiveKit room with its conversation."""

    def __init__(
        self, room: rtc.Room, conversation: Conversation, connect: Connect, plugins: Plugins
    ) -> None:
        self._room, self._conversation, self._connect = room, conversation, connect
        self._plugins = plugins
        self._said: asyncio.Queue[PostMessage] = asyncio.Queue(_UNSAID)
        self._reading: set[asyncio.Task[None]] = set()
        self._closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.left_out = 0

    def leave(self) -> None:
        """Host no more; the room goes on with another server's swarm."""
        _note(self._closed, None)

    async def run(self) -> bool:
        """Host until LiveKit closes the room, or `leave`; say whether it did close the room.

        It did not when only this connection is lost, or was left.

        Raises:
            NotFound: there is no such conversation.
        """
        self._room.on("disconnected", partial(_note, self._closed))
        self._room.register_text_stream_handler("lk.chat", self._chatted)
        await self._start()
        async with AsyncExitStack() as stack:
            voices = Voices(self._connect, self._plugins)
            stack.push_async_callback(voices.aclose)
            floor = await stack.enter_async_context(self._conversation.staged(voices))
            await stack.enter_async_context(background(self._log_turns()))
            stack.push_async_callback(self._logged)
            ears = Ears(self._room, floor, self._heard, self._plugins)
            stack.push_async_callback(ears.aclose)
            attendance = Attendance(self._room, self._conversation, ears, voices)
            await stack.enter_async_context(attendance.kept())
            reason = await self._closed
            await end(self._reading)
        return reason in _ROOM_IS_OVER

    async def _start(self) -> None:
        """Let bots answer, unless somebody has paused the conversation."""
        state = await self._conversation.state()
        if state.status == "ready":
            key = f"start-{state.version.token}"
            try:
                await self._conversation.submit(ChangeStatus("start"), key=key, actor="room")
            except Refused:
                log.info("room.started_elsewhere", room=self._room.name)

    # -- what people say -------------------------------------------------------------------------

    async def _heard(self, person_id: str, id: str, text: str, began: datetime) -> None:
        """Queue a turn: the audio waits for no database."""
        turn = PostMessage(
            Speaker("person", person_id),
            text,
            id=id,
            started_at=began,
            ended_at=max(began, datetime.now(UTC)),
        )
        try:
            self._said.put_nowait(turn)
        except asyncio.QueueFull:
            self.left_out += 1
            log.error("turn.left_out", room=self._room.name, waiting=_UNSAID)

    def _chatted(self, reader: rtc.TextStreamReader, person_id: str) -> None:
        """Take what somebody wrote in the room's chat, as LiveKit's own front ends do."""
        task = asyncio.create_task(self._read(reader, person_id))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader, person_id: str) -> None:
        came = datetime.now(UTC)
        try:
            async with asyncio.timeout(_CHAT_S):
                text = (await reader.read_all()).strip()
        except TimeoutError:
            log.warning("chat.cut", room=self._room.name, person=person_id)
            return
        if text and find_person(self._room, person_id) is not None:
            await self._heard(person_id, reader.info.stream_id, text, came)

    async def _log_turns(self) -> None:
        while True:
            turn = await self._said.get()
            try:
                await self._conversation.submit(turn, key=f"said-{turn.id}", actor=turn.author.id)
            except StateError as error:
                log.error("turn.refused", room=self._room.name, error=str(error))
            finally:
                self._said.task_done()

    async def _logged(self) -> None:
        """Wait until what was said is logged."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._said.join()
        except TimeoutError:
            log.error("turns.lost", room=self._room.name, waiting=self._said.qsize())


def _note(closed: asyncio.Future[int | None], reason: int | None) -> None:
    if not closed.done():
        closed.set_result(reason)
