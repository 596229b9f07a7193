"""The recorder of a room: while that is wished for, all that is heard goes into files.

It lives in the room's loop and holds nobody up. Whatever fails, the room goes on, nobody sees it as
recorded any more, and it is tried again a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from livekit import rtc

from src.agents.port import Conversation
from src.agents.recording.room_sound import RoomSound
from src.agents.recording.takes import Keeping, Subject, Takes
from src.state.errors import NotFound, StateError
from src.swarm.rooms.protocols import RECORDING

log = structlog.get_logger(__name__)

_STEP_S = 0.5
"""A wish is obeyed within this."""
_AGAIN_S = 15.0
_MARK_S = 5.0


class Recorder:
    """Records one room in one of its lives."""

    def __init__(
        self,
        room: rtc.Room,
        life: str,
        conversation: Conversation,
        keeping: Keeping,
        longest: timedelta,
    ) -> None:
        self._room, self._life, self._conversation = room, life, conversation
        self._keeping, self._longest_s = keeping, longest.total_seconds()
        self._over = asyncio.Event()
        self._wished = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Record for the length of the block, while it is wished for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            try:
                yield
            finally:
                self._over.set()

    async def _follow(self) -> None:
        while not self._over.is_set():
            pause_s = _STEP_S
            try:
                if await self._is_wished():
                    await self._record()
            except Exception as error:
                # Of whatever kind: no recording is worth a room.
                log.warning("recording.failed", room=self._room.name, error=repr(error))
                pause_s = _AGAIN_S
            await self._pause(pause_s)

    async def _is_wished(self) -> bool:
        """Say whether to record; while nobody can tell, it is as it was."""
        try:
            self._wished = await self._conversation.recording()
        except NotFound:
            self._wished = False
        except StateError:
            pass
        return self._wished

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def _record(self) -> None:
        """Record until that is not wished for any more, or all is over; raises `Takes`' errors."""
        state = await self._conversation.state()
        of = Subject(self._room.name, self._life, state.id, state.created_by)
        takes = Takes(of, self._keeping)
        # In this order: nobody is recorded who could not see it.
        async with takes.open(), self._marked(), RoomSound(self._room, takes.source).heard():
            log.info("recording.begun", room=self._room.name)
            while not self._over.is_set() and await self._is_wished():
                await takes.write()
                if takes.is_full or takes.seconds >= self._longest_s:
                    await takes.turn()
                await self._pause(_STEP_S)
        log.info("recording.ended", room=self._room.name)

    @asynccontextmanager
    async def _marked(self) -> AsyncIterator[None]:
        """Have everybody see that the room is recorded; raises TimeoutError when nobody does."""
        await self._mark("true")
        try:
            yield
        finally:
            # A room that is over shows nothing, and a server that does not answer shows it on.
            with suppress(TimeoutError):
                if self._room.isconnected():
                    await self._mark("")

    async def _mark(self, value: str) -> None:
        me, shown = self._room.local_participant, asyncio.Event()

        def changed(*_: object) -> None:
            shown.set()

        self._room.on("participant_attributes_changed", changed)
        try:
            async with asyncio.timeout(_MARK_S):
                # The library does not say when it is refused: what counts is what comes back.
                await me.set_attributes({RECORDING: value})
                while me.attributes.get(RECORDING, "") != value:
                    await shown.wait()
                    shown.clear()
        finally:
            self._room.off("participant_attributes_changed", changed)
