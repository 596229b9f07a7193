"""The clock of real servers."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

# Linux stops CLOCK_MONOTONIC while the machine sleeps; a suspended owner must wake up expired.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """Wall time in UTC, intervals on the clock that counts suspension too."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
