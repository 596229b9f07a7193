"""One venue is hosted: people are heard, bots have voices, and the conversation is this server's.

It lasts as long as the room or the call does. What was said last is logged before it is over.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog

from src.agents.attendance import Attendance
from src.agents.ears import Ears
from src.agents.port import Conversation
from src.agents.providers.models import Models
from src.agents.venue import Venue
from src.agents.voices import Voices
from src.state.background import background
from src.state.errors import Refused, StateError
from src.swarm.shapes.commands import ChangeStatus, PostMessage, Speaker

log = structlog.get_logger(__name__)

_UNSAID = 1000
"""Turns of people that may wait to be logged; more are left out, and counted."""
_LAST_WORDS_S = 10.0
"""How long the turns that wait when a room ends may take to be logged."""


class RoomHost:
    """One venue with its conversation."""

    def __init__(self, venue: Venue, conversation: Conversation, models: Models) -> None:
        self._venue, self._conversation, self._models = venue, conversation, models
        self._said: asyncio.Queue[PostMessage] = asyncio.Queue(_UNSAID)
        self._closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.left_out = 0

    def leave(self) -> None:
        """Host no more; the room goes on with another server's swarm."""
        self._note(False)

    async def run(self) -> bool:
        """Host until the venue closes, or `leave`; say whether it is closed for good.

        It is not when only this server's connection is lost, or was left.

        Raises:
            NotFound: there is no such conversation.
        """
        voices = Voices(self._venue, self._models)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._venue.attended(self._heard, self._note))
            await self._start()
            stack.push_async_callback(voices.aclose)
            floor = await stack.enter_async_context(self._conversation.staged(voices))
            await stack.enter_async_context(background(self._log_turns()))
            stack.push_async_callback(self._logged)
            ears = Ears(self._venue, floor, self._heard, self._models)
            stack.push_async_callback(ears.aclose)
            attendance = Attendance(self._venue, self._conversation, ears, voices)
            await stack.enter_async_context(attendance.kept())
            return await self._closed

    async def _start(self) -> None:
        """Let bots answer, unless somebody has paused the conversation."""
        state = await self._conversation.state()
        if state.status == "ready":
            key = f"start-{state.version.token}"
            try:
                await self._conversation.submit(ChangeStatus("start"), key=key, actor="room")
            except Refused:
                log.info("room.started_elsewhere", room=self._venue.name)

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
            log.error("turn.left_out", room=self._venue.name, waiting=_UNSAID)

    async def _log_turns(self) -> None:
        while True:
            turn = await self._said.get()
            try:
                await self._conversation.submit(turn, key=f"said-{turn.id}", actor=turn.author.id)
            except StateError as error:
                log.error("turn.refused", room=self._venue.name, error=str(error))
            finally:
                self._said.task_done()

    async def _logged(self) -> None:
        """Wait until what was said is logged."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._said.join()
        except TimeoutError:
            log.error("turns.lost", room=self._venue.name, waiting=self._said.qsize())

    def _note(self, is_over: bool) -> None:
        if not self._closed.done():
            self._closed.set_result(is_over)
