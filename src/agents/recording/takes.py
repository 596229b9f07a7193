"""One stretch of recording: what is heard becomes tapes, one after the other without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from src.agents.errors import RecordingFull
from src.agents.recording.mix import RATE, SETTLED, Mix, Place, Samples
from src.agents.recording.shelf import Finished
from src.agents.recording.speakers import Speakers
from src.agents.recording.tape import SUFFIX, TAPE_ERRORS, Tape
from src.state.errors import StateError
from src.state.records.files import Recording

T = TypeVar("T")

_LOUD = 500.0
"""Root mean square of 16-bit samples from which on somebody is heard."""
_DISK_S = 20.0
"""How long the disk may take for a little sound ..."""
_END_S = 5.0
"""... and for the end of a file; else it is given up."""
_LEAST_BYTES = 256 << 10
"""With less room than this none is begun."""
_MARGIN_BYTES = 64 << 10
"""A tape ends so much before there is no room for it: how long it becomes is known then."""


class Keeping(Protocol):
    """Where the finished recordings of one conversation go."""

    async def left(self) -> int:
        """Return how many bytes there is room for; raises StateError when nobody can tell."""
        ...

    def put(self, finished: Finished) -> None:
        """Have it stored; it never waits."""
        ...


class Subject(msgspec.Struct, frozen=True, gc=False):
    """What is recorded, and whose files it becomes."""

    room_id: str
    life: str
    conversation_id: str
    owner: str


class Takes:
    """In a room's loop; the disk has a thread of its own."""

    def __init__(self, of: Subject, keeping: Keeping) -> None:
        self._of, self._keeping = of, keeping
        self._mix, self._speakers = Mix(), Speakers()
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="recording")
        self._tape: Tape | None = None
        self._left = self._sources = 0
        self._given = self._began = 0
        """Where in the sound the tape ends, and where it began."""
        self._zero_s, self._at = self._loop.time(), datetime.now(UTC)

    def source(self, id: str, channel: int) -> Callable[[Samples], None]:
        """Return who takes the sound of a source that begins now, of this member."""
        place = Place()
        self._sources += 1

        def take(samples: Samples) -> None:
            at = place.of(len(samples), self._now())
            self._mix.add(samples, at, channel)
            if np.sqrt(np.mean(samples.astype(np.float32) ** 2)) >= _LOUD:
                self._speakers.heard(id, at)

        return take

    @property
    def seconds(self) -> float:
        """How long the present tape is."""
        return 0.0 if self._tape is None else self._tape.seconds

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more than the present tape has."""
        return self._tape is not None and self._tape.size + _MARGIN_BYTES > self._left

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have a tape for the length of the block; what is on it at the end is kept.

        Raises:
            RecordingFull: there is no room for it.
            StateError: nobody can tell whether there is.
            TAPE_ERRORS, TimeoutError: the disk does not do its part, now or at the end.
        """
        try:
            self._left = await self._keeping.left()
            await self._insert()
            try:
                yield
            finally:
                await self.write(settled=False)
                await self._finish()
        finally:
            self._give_up()
            self._disk.shutdown(wait=False)

    async def write(self, *, settled: bool = True) -> None:
        """Put on tape what was heard so far; the last of it may not have come yet: not that."""
        until = self._now() - (SETTLED if settled else 0)
        if self._tape is not None and until > self._given:
            sound, self._given = self._mix.take(until), until
            await self._on_disk(_DISK_S, self._tape.write, sound)

    async def turn(self) -> None:
        """Finish the tape, and go on with another one; raises what `open` raises."""
        before = 0 if self._tape is None else self._tape.size
        await self._finish()
        try:
            self._left = await self._keeping.left()
        except StateError:
            # The rest waits for that answer as well; meanwhile nobody fills the room.
            self._left -= before
        await self._insert()

    async def _insert(self) -> None:
        if self._left < _LEAST_BYTES:
            raise RecordingFull(self._of.conversation_id, self._left)
        self._began = self._given
        self._tape = await self._on_disk(_DISK_S, Tape, self._of.room_id)

    async def _finish(self) -> None:
        tape = self._tape
        if tape is None or not tape.seconds or not self._sources:
            # Nobody was there to be heard.
            return
        file = await self._on_disk(_END_S, tape.end)
        self._tape = None
        began = self._at + timedelta(seconds=self._began / RATE)
        heard = self._speakers.until(self._given)
        about = Recording(self._of.room_id, self._of.life, began, tape.seconds, heard)
        name = f"recording-{began:%Y-%m-%dT%H-%M-%SZ}{SUFFIX}"
        size = await self._on_disk(_END_S, file.seek, 0, 2)
        whose = (self._of.conversation_id, self._of.owner)
        self._keeping.put(Finished(*whose, name, size, file, about))

    def _now(self) -> int:
        return int((self._loop.time() - self._zero_s) * RATE)

    async def _on_disk(self, patience_s: float, work: Callable[..., T], *given: object) -> T:
        try:
            async with asyncio.timeout(patience_s):
                return await self._loop.run_in_executor(self._disk, work, *given)
        except (TimeoutError, *TAPE_ERRORS):
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Discard the tape, as soon as the disk answers."""
        tape, self._tape = self._tape, None
        if tape is not None:
            self._disk.submit(tape.discard)
