"""Where finished recordings wait until the blob store has them; in the server's own loop.

They wait on this server's disk: so a store that is away for a while costs no recording, and no
room waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
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
_AGAIN_S = 5.0
_LEAVE_S = 10.0
"""How long those that wait when the server stops may take to be stored."""
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

    def __init__(self, files: FileService, *, again_s: float = _AGAIN_S) -> None:
        self._files, self._again_s = files, again_s
        self._waiting: deque[Finished] = deque()
        self._came, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
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
        if len(self._waiting) >= _MOST:
            self._refused += 1
            self._lose(finished, f"{_MOST} others wait")
            return
        self._waiting.append(finished)
        self._empty.clear()
        self._came.set()

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        """Note that a recording becomes no file."""
        self._lost += 1
        log.error("recording.lost", room=room_id, seconds=seconds, why=why)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what is put here for the length of the block, and a bounded time longer."""
        async with background(self._store_for_ever()):
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAVE_S):
                        await self._empty.wait()
        for finished in self._waiting:
            self._lose(finished, "this server stops")

    async def _store_for_ever(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                if await self._dealt_with(self._waiting[0]):
                    self._waiting.popleft()
                else:
                    self._waiting.rotate(-1)
                    await asyncio.sleep(self._again_s)
            self._empty.set()

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
