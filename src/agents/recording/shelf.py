"""Where finished recordings wait until the blob store has them; in the server's own loop.

They wait on this server's disk: so a store that is away for a while costs no recording, and no
room waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO

import structlog

from src.agents.recording.tape import TYPE
from src.state.background import background
from src.state.buffers import Buffer
from src.state.errors import NotFound, Refused, StateError
from src.state.ids import new_id
from src.state.records.files import Recording
from src.swarm.errors import UploadTooSlow
from src.swarm.files import FileService, Upload

log = structlog.get_logger(__name__)

_MOST = 32
"""Recordings that wait; one more is lost."""
_PATIENCE_S = 3600.0
"""How long one waits for a store that is away, or that answers too slowly."""
_AT_ONCE = 4
_AGAIN_S, _AGAIN_AT_THE_END_S = 5.0, 0.2
_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A recording that is whole."""

    conversation_id: str
    owner: str
    """Whose file it becomes: who began the conversation."""
    name: str
    size: int
    """Bytes."""
    file: IO[bytes]
    """Closed by the shelf."""
    recording: Recording
    since: float = field(default_factory=time.monotonic)
    tried: list[str] = field(default_factory=list)
    """Ids under which it was tried to store it."""


class Shelf:
    """The finished recordings of one server."""

    def __init__(self, files: FileService, leave: timedelta, *, again_s: float = _AGAIN_S) -> None:
        self._files, self._leave_s, self._again_s = files, leave.total_seconds(), again_s
        self._waiting: list[Finished] = []
        self._line: asyncio.Queue[Finished] = asyncio.Queue()
        """Those of them that are not being stored now."""
        self._stopping = asyncio.Event()
        self._is_over = False
        self._kept = self._lost = self._refused = 0

    def buffers(self) -> Mapping[str, Buffer]:
        """Return what is bounded here."""
        return {"recordings": Buffer(len(self._waiting), _MOST, self._refused)}

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {"recordings_kept": self._kept, "recordings_lost": self._lost}

    async def left(self, conversation_id: str) -> int:
        """Return how many bytes a conversation may still record.

        Raises:
            DurableTierUnavailable: PostgreSQL does not answer.
        """
        mine = [one.size for one in self._waiting if one.conversation_id == conversation_id]
        return await self._files.left(conversation_id) - sum(mine)

    def put(self, finished: Finished) -> None:
        """Have a recording stored; it never waits."""
        if self._is_over:
            self._lose(finished, "this server stops")
        elif len(self._waiting) >= _MOST:
            self._refused += 1
            self._lose(finished, f"{_MOST} others wait")
        else:
            self._waiting.append(finished)
            self._line.put_nowait(finished)

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        """Note that a recording becomes no file."""
        self._lost += 1
        log.error("recording.lost", room=room_id, seconds=seconds, why=why)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what is put here for the length of the block, and a bounded time longer."""
        async with background(*(self._store_for_ever() for _ in range(_AT_ONCE))):
            try:
                yield
            finally:
                self._stopping.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._leave_s):
                        await self._line.join()
        self._is_over = True
        for finished in self._waiting:
            self._lose(finished, "this server stops")

    async def _store_for_ever(self) -> None:
        while True:
            one = await self._line.get()
            if await self._dealt_with(one):
                self._waiting.remove(one)
            else:
                self._line.put_nowait(one)
                await self._pause()
            self._line.task_done()

    async def _pause(self) -> None:
        """Leave the store alone for a while, a short one when the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._again_s):
                await self._stopping.wait()
                await asyncio.sleep(_AGAIN_AT_THE_END_S)

    async def _dealt_with(self, one: Finished) -> bool:
        """Try to store a recording; whether it is stored, or never will be."""
        try:
            await self._store(one)
        except Refused as error:
            self._lose(one, str(error))
        except (StateError, UploadTooSlow, OSError) as error:
            if time.monotonic() - one.since < _PATIENCE_S:
                log.warning("recording.waits", room=one.recording.room_id, error=str(error))
                return False
            self._lose(one, str(error))
        except Exception as error:
            # Of whatever kind: it ends this recording, and not the server.
            self._lose(one, repr(error))
        else:
            self._kept += 1
            one.file.close()
            log.info("recording.kept", room=one.recording.room_id, bytes=one.size)
        return True

    async def _store(self, one: Finished) -> None:
        for id in one.tried:
            # It may have been stored although nobody could say so.
            with suppress(NotFound):
                await self._files.get(id)
                return
        one.tried.append(new_id())
        given = Upload(
            one.tried[-1],
            one.conversation_id,
            one.name,
            TYPE,
            one.owner,
            recording=one.recording,
        )
        await self._files.upload(given, _parts(one.file))

    def _lose(self, one: Finished, why: str) -> None:
        one.file.close()
        self.lost(one.recording.room_id, one.recording.duration_s, why)


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    await asyncio.to_thread(file.seek, 0)
    while part := await asyncio.to_thread(file.read, _PART_BYTES):
        yield part
