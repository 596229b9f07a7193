"""The other end of a call: a person who speaks in tones, and keeps what is heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from src.agents.calls import CallHosting
from src.agents.providers.models import Models
from src.agents.providers.tone import SAMPLE_RATE, tone
from src.agents.settings import RoomsSettings
from src.swarm.opened import Runtime
from src.swarm.rooms.calls import Line

PIECE_S = 0.02


@asynccontextmanager
async def hosting(runtime: Runtime) -> AsyncIterator[CallHosting]:
    """Take calls on this server."""
    async with Models().running() as models:
        calls = CallHosting(runtime, RoomsSettings(), models)
        async with calls.running():
            yield calls


class Earpiece:
    """`Wire` of a person who hears everything and is never too slow."""

    def __init__(self, sample_rate: int = SAMPLE_RATE, *, echoes: bool = False) -> None:
        self.sample_rate, self.echoes = sample_rate, echoes
        self.line: Line | None = None
        self.heard = bytearray()
        self.heard_at: list[tuple[float, int]] = []
        """When how many bytes had come, by the loop's clock."""
        self.cleared = 0
        self.marks: list[str] = []

    def begun(self, line: Line) -> None:
        self.line = line

    def sound(self, pcm: bytes) -> None:
        self.heard += pcm
        self.heard_at.append((time.monotonic(), len(self.heard)))

    def clear(self) -> None:
        self.cleared += 1

    def mark(self, name: str) -> None:
        self.marks.append(name)
        if self.line is not None:
            self.line.played(name)

    @property
    def heard_s(self) -> float:
        """How much sound came."""
        return len(self.heard) / 2 / self.sample_rate


async def say(hear: Callable[[bytes], None], hz: float, seconds: float = 0.6) -> None:
    """Speak for a while, and be silent then, as a microphone is: at the pace of sound."""
    pcm = tone(hz, seconds) + bytes(SAMPLE_RATE)
    step = int(PIECE_S * SAMPLE_RATE) * 2
    for start in range(0, len(pcm), step):
        hear(pcm[start : start + step])
        await asyncio.sleep(PIECE_S)


def pitch(pcm: bytes, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the strongest frequency of a sound, in Hz."""
    samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * sample_rate / len(samples))
