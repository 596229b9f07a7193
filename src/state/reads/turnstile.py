"""A bound on how many do the same thing at once, and on how many wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src.state.buffers import Buffer
from src.state.errors import Overloaded


class Turnstile:
    """Lets `at_once` through; `in_line` more may wait, for `patience_s`, the rest are sent away."""

    def __init__(
        self, what: str, at_once: int, in_line: int, patience_s: float | None = None
    ) -> None:
        self._what = what
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(at_once)
        self._in_line = in_line
        self.waiting = 0
        self.refused = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {"waiting_loads": self.buffer}

    @property
    def buffer(self) -> Buffer:
        """The line of those who wait."""
        return Buffer(self.waiting, self._in_line, self.refused)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it for the length of the block.

        Raises:
            Overloaded: the line is as long as it may be, or this took too long.
        """
        if self._free.locked() and self.waiting >= self._in_line:
            self.refused += 1
            raise Overloaded(f"{self.waiting} {self._what} wait already")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError:
            self.refused += 1
            detail = f"{self._what} wait for longer than {self._patience_s:.0f} s here"
            raise Overloaded(detail) from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()
