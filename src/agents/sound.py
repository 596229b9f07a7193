"""The two ends of a call's sound, as a session of livekit-agents knows them.

What a bot says is sent at the pace at which it is heard. So the other end never has more than a
moment of it in store, and when a person begins to speak it is known how much was heard.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from livekit import rtc
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

from src.state.background import end
from src.swarm.rooms.calls import Wire

HEARING_RATE = 24_000
"""Samples a second that ears are given, whatever the call has."""
_KEPT_S = 5.0
"""Sound that may wait for its ear; beyond it the oldest goes."""
_SILENCE_S = 1.0
"""Silence at the end of a call: by it whoever listens knows that the last word is over."""
_AHEAD_S = 0.2
"""How far sound is sent ahead of its being heard."""
_PIECE_S = 0.02
_ECHO_S = 1.0
"""How long the other end may take to say that it has played what it was sent in time."""
_BYTES = 2
"""Of one sample."""


class Microphone(AudioInput):
    """What a person says. `push` may be called from any thread."""

    def __init__(self, sample_rate: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(label="call")
        self._rate, self._loop = sample_rate, loop
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._came, self._drained = asyncio.Event(), asyncio.Event()
        self._frames: deque[rtc.AudioFrame] = deque()
        self._resampler = (
            None
            if sample_rate == HEARING_RATE
            else rtc.AudioResampler(sample_rate, HEARING_RATE, num_channels=1)
        )

    def push(self, pcm: bytes) -> None:
        """Add what was said; the oldest goes when nobody has listened for long."""
        with self._lock:
            self._waiting.append(pcm)
            self._waiting_bytes += len(pcm)
            while self._waiting_bytes > _KEPT_S * self._rate * _BYTES and len(self._waiting) > 1:
                self._waiting_bytes -= len(self._waiting.popleft())
        self._loop.call_soon_threadsafe(self._came.set)

    def fall_silent(self) -> None:
        """Add the silence after which nothing comes any more."""
        # In pieces: one would be taken for sound as a whole, by the end of the word in it.
        for _ in range(round(_SILENCE_S / _PIECE_S)):
            self.push(bytes(int(_PIECE_S * self._rate) * _BYTES))

    async def __anext__(self) -> rtc.AudioFrame:
        while not self._frames:
            pcm = await self._next()
            frame = rtc.AudioFrame(pcm, self._rate, 1, len(pcm) // _BYTES)
            self._frames += [frame] if self._resampler is None else self._resampler.push(frame)
        return self._frames.popleft()

    async def _next(self) -> bytes:
        while True:
            self._came.clear()
            with self._lock:
                if self._waiting:
                    self._drained.clear()
                    pcm = self._waiting.popleft()
                    self._waiting_bytes -= len(pcm)
                    return pcm
            self._drained.set()
            await self._came.wait()

    async def drained(self, patience_s: float) -> None:
        """Wait until all that was pushed is taken, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._waiting:
                    self._drained.clear()
                    await self._drained.wait()


class Playback(AudioOutput):
    """What one bot says, on a wire; a segment of it is one speech."""

    def __init__(self, wire: Wire, echoes: Echoes) -> None:
        super().__init__(
            label="call",
            capabilities=AudioOutputCapabilities(pause=False),
            sample_rate=wire.sample_rate,
        )
        self._wire, self._echoes = wire, echoes
        self._open = self._cut = False
        """Whether there is a segment that is not over, and whether it was cut off while given."""
        self._sent_s = 0.0
        self._dry_at = 0.0
        """When all that was sent is heard, by the loop's clock."""
        self._ending: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        if self._ending is not None:
            await asyncio.wait((self._ending,))
        await super().capture_frame(frame)
        self._open = True
        data = bytes(frame.data)
        step = int(_PIECE_S * frame.sample_rate) * _BYTES
        for start in range(0, len(data), step):
            ahead_s = self._dry_at - self._now()
            if ahead_s > _AHEAD_S:
                await asyncio.sleep(ahead_s - _AHEAD_S)
            if self._cut:
                return
            self._send(data[start : start + step], frame.sample_rate)

    def _send(self, piece: bytes, sample_rate: int) -> None:
        if not self._sent_s:
            self.on_playback_started(created_at=time.time())
        took_s = len(piece) / _BYTES / sample_rate
        self._dry_at = max(self._now(), self._dry_at) + took_s
        self._sent_s += took_s
        self._wire.sound(piece)

    def flush(self) -> None:
        super().flush()
        if not self._open:
            return
        if self._cut or not self._sent_s:
            self._finish(interrupted=self._cut)
        elif self._ending is None:
            self._ending = asyncio.create_task(self._end())

    def clear_buffer(self) -> None:
        if not self._open or self._cut:
            return
        self._wire.clear()
        if self._ending is None:
            # The segment is still being given; `flush` ends it.
            self._cut = True
            return
        self._ending.cancel()
        self._finish(interrupted=True)

    async def aclose(self) -> None:
        """Play no more."""
        if self._ending is not None:
            await end((self._ending,))

    async def _end(self) -> None:
        await asyncio.sleep(self._dry_at - self._now())
        if self._wire.echoes:
            await self._echoes.of(self._wire, _ECHO_S)
        self._finish(interrupted=False)

    def _finish(self, *, interrupted: bool) -> None:
        heard_s = max(0.0, self._sent_s - max(0.0, self._dry_at - self._now()))
        self._open = self._cut = False
        self._sent_s, self._dry_at, self._ending = 0.0, 0.0, None
        self.on_playback_finished(playback_position=heard_s, interrupted=interrupted)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


class Echoes:
    """What the other end says that it has played."""

    def __init__(self) -> None:
        self._marks = 0
        self._awaited: dict[str, Callable[[], None]] = {}

    async def of(self, wire: Wire, patience_s: float) -> None:
        """Mark this place in what is sent, and wait until it is reached, or for so long."""
        self._marks += 1
        name, reached = f"m{self._marks}", asyncio.Event()
        self._awaited[name] = reached.set
        wire.mark(name)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await reached.wait()
        finally:
            del self._awaited[name]

    def played(self, name: str) -> None:
        """Note that a mark was reached; others' names are passed over."""
        reached = self._awaited.get(name)
        if reached is not None:
            reached()
