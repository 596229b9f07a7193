"""The clock of real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

# Linux stops CLOCK_MONOTONIC while the machine sleeps; a suspended owner must wake up expired.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def _boottime(clock: int) -> Callable[[], float]:
    return partial(time.clock_gettime, clock)


class SystemClock:
    """Wall time in UTC, intervals on the clock that counts suspension too.

    `monotonic` is the bare C function: every cache hit reads it.
    """

    monotonic: Callable[[], float]

    def __init__(self) -> None:
        self.monotonic = time.monotonic if _BOOTTIME is None else _boottime(_BOOTTIME)

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
