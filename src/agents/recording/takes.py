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
_PART = 10 * RATE
"""Sound that is written at once at most."""
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

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        """Note that so much of a room's sound, which was on tape, becomes no file."""
        ...


class Subject(msgspec.Struct, frozen=True, gc=False):
    """What is recorded, and whose files it becomes."""

    room_id: str
    life: str
    conversation_id: str
    owner: str


class Takes:
    """In a room's loop; `disk` is the one thread that waits for the disk."""

    def __init__(self, of: Subject, keeping: Keeping, disk: ThreadPoolExecutor) -> None:
        self._of, self._keeping, self._disk = of, keeping, disk
        self._mix, self._speakers = Mix(), Speakers()
        self._loop = asyncio.get_running_loop()
        self._tape: Tape | None = None
        self._left = self._sources = 0
        self._given = self._began = self._looked = 0
        """Where in the sound the tape ends, where it began, and what time it was last."""
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
        self._left = await self._keeping.left()
        await self._insert()
        try:
            try:
                yield
            finally:
                await self.write(settled=False, patience_s=_END_S)
                await self._finish(_END_S)
        finally:
            self._give_up("it was cut off")

    async def write(self, *, settled: bool = True, patience_s: float = _DISK_S) -> None:
        """Put on tape what was heard so far; the last of it may not have come yet: not that.

        Raises:
            TAPE_ERRORS, TimeoutError: the disk does not do its part.
        """
        now = self._now()
        # As of the time before: a loop that was busy meanwhile has not placed what waited for it.
        until = self._looked - SETTLED if settled else now
        self._looked = now
        while self._tape is not None and until > self._given:
            # In parts: whoever was stopped for an hour has an hour to write.
            self._given = min(until, self._given + _PART)
            sound = self._mix.take(self._given)
            try:
                await self._on_disk(patience_s, self._tape.write, sound)
            except TAPE_ERRORS:
                # What is on tape already is kept.
                await self._finish(patience_s)
                raise

    async def turn(self) -> None:
        """Finish the tape, and go on with another one; raises what `open` raises."""
        before = 0 if self._tape is None else self._tape.size
        await self._finish(_DISK_S)
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

    async def _finish(self, patience_s: float) -> None:
        tape = self._tape
        if tape is None or not tape.seconds or not self._sources:
            # Nobody was there to be heard.
            self._discard()
            return
        file, size = await self._on_disk(patience_s, tape.end)
        if not size:
            self._give_up("the disk took none of it")
            return
        self._tape = None
        began = self._at + timedelta(seconds=self._began / RATE)
        heard = self._speakers.until(self._given)
        about = Recording(self._of.room_id, self._of.life, began, tape.seconds, heard)
        name = f"recording-{began:%Y-%m-%dT%H-%M-%SZ}{SUFFIX}"
        whose = (self._of.conversation_id, self._of.owner)
        self._keeping.put(Finished(*whose, name, size, file, about))

    def _now(self) -> int:
        return int((self._loop.time() - self._zero_s) * RATE)

    async def _on_disk(self, patience_s: float, work: Callable[..., T], *given: object) -> T:
        try:
            async with asyncio.timeout(patience_s):
                return await self._loop.run_in_executor(self._disk, work, *given)
        except TimeoutError:
            self._give_up(f"the disk has not answered for {patience_s:.0f} s")
            raise

    def _give_up(self, why: str) -> None:
        tape = self._discard()
        if tape is not None and self._sources:
            self._keeping.lost(self._of.room_id, tape.seconds, why)

    def _discard(self) -> Tape | None:
        """Have no tape any more, and the disk give its file back as soon as it answers."""
        tape, self._tape = self._tape, None
        if tape is not None:
            self._disk.submit(tape.discard)
        return tape
