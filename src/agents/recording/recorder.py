"""The recorder of a room: while that is wished for, all that is heard goes into files.

It lives in the room's loop and holds nobody up. Whatever fails, the room goes on, nobody sees it as
recorded any more, and it is tried again a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
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
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="recording")
        self._over = self._wished = False
        self._ended = asyncio.Event()
        """What is recorded ends: all is over, or nobody sees any more that it is recorded."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Record for the length of the block, while it is wished for and the room is there."""
        self._room.on("disconnected", self._leave)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                try:
                    yield
                finally:
                    self._room.off("disconnected", self._leave)
                    self._leave()
        finally:
            self._disk.shutdown(wait=False)

    def _leave(self, *_: object) -> None:
        self._over = True
        self._ended.set()

    async def _follow(self) -> None:
        while not self._over:
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
                await self._ended.wait()

    async def _record(self) -> None:
        """Record until that is not wished for any more, or all is over; raises `Takes`' errors."""
        state = await self._conversation.state()
        of = Subject(self._room.name, self._life, state.id, state.created_by)
        takes = Takes(of, self._keeping, self._disk)
        # In this order: nobody is recorded who could not see it.
        async with takes.open(), self._marked(), RoomSound(self._room, takes.source).heard():
            log.info("recording.begun", room=self._room.name)
            while not self._ended.is_set() and await self._is_wished():
                await takes.write()
                if takes.is_full or takes.seconds >= self._longest_s:
                    await takes.turn()
                await self._pause(_STEP_S)
        log.info("recording.ended", room=self._room.name)

    @asynccontextmanager
    async def _marked(self) -> AsyncIterator[None]:
        """Have everybody see that the room is recorded, and end it when they do not any more.

        Raises:
            TimeoutError: nobody sees it.
        """
        try:
            await self._mark("true")
            self._room.on("participant_attributes_changed", self._look)
            self._look()
            yield
        finally:
            self._room.off("participant_attributes_changed", self._look)
            # A room that is over shows nothing, and a server that does not answer shows it on.
            with suppress(TimeoutError):
                if self._room.isconnected():
                    await self._mark("")
            if not self._over:
                self._ended.clear()

    def _look(self, *_: object) -> None:
        """Note that the mark is gone: whoever may change participants may take it away."""
        if self._shown() != "true":
            self._ended.set()

    def _shown(self) -> str:
        return self._room.local_participant.attributes.get(RECORDING, "")

    async def _mark(self, value: str) -> None:
        changed = asyncio.Event()

        def note(*_: object) -> None:
            changed.set()

        self._room.on("participant_attributes_changed", note)
        try:
            async with asyncio.timeout(_MARK_S):
                # The library does not say when it is refused: what counts is what comes back.
                await self._room.local_participant.set_attributes({RECORDING: value})
                while self._shown() != value:
                    await changed.wait()
                    changed.clear()
        finally:
            self._room.off("participant_attributes_changed", note)
