"""How many use something at once: one bound for users in different event loops."""

from __future__ import annotations

import asyncio
import threading
from collections import deque


class _Waiting:
    """Somebody who waits, in a loop of their own."""

    def __init__(self) -> None:
        self.loop, self.came = asyncio.get_running_loop(), asyncio.Event()
        self.let_in = False


class Gate:
    """Lets so many in at once, in the order in which they came; None: everybody."""

    def __init__(self, places: int | None = None) -> None:
        self.places = places
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self.busy = 0
        """Who is in."""

    @property
    def waiting(self) -> int:
        """Who waits to be let in."""
        return len(self._waiting)

    async def enter(self, patience_s: float) -> None:
        """Wait to be let in; whoever is leaves again with `leave`.

        Raises:
            TimeoutError: there was no place for so long.
        """
        async with asyncio.timeout(patience_s):
            await self._enter()

    async def _enter(self) -> None:
        with self._lock:
            if self.places is None or self.busy < self.places:
                self.busy += 1
                return
            mine = _Waiting()
            self._waiting.append(mine)
        try:
            await mine.came.wait()
        except BaseException:
            with self._lock:
                if not mine.let_in:
                    self._waiting.remove(mine)
            if mine.let_in:
                # The place came together with the end of the patience.
                self.leave()
            raise

    def leave(self) -> None:
        """Make room for the next."""
        with self._lock:
            while self._waiting:
                first = self._waiting.popleft()
                first.let_in = True
                try:
                    first.loop.call_soon_threadsafe(first.came.set)
                except RuntimeError:
                    # Its loop is closed, nobody waits there any more.
                    continue
                return
            self.busy -= 1
