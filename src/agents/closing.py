"""Closing to the end: what is half closed, because nobody waited for it, lingers in its library."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Closing:
    """What is being closed. Whoever waits for it may be cancelled, it goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self, *work: Coroutine[Any, Any, None]) -> None:
        """Close these side by side, and wait for it."""
        await asyncio.shield(self.begin(*work))

    def begin(self, *work: Coroutine[Any, Any, None]) -> asyncio.Future[list[None]]:
        """Close these side by side; whoever wants to may wait for it."""
        tasks = [asyncio.create_task(one) for one in work]
        self._tasks.update(tasks)
        for task in tasks:
            task.add_done_callback(self._tasks.discard)
        return asyncio.gather(*tasks)

    async def done(self) -> None:
        """Wait until all of it is closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)
