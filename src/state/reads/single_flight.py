"""One load per key, however many tasks ask for it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Lets the first caller load and the others wait for its answer.

    A caller that is cancelled does not take the load from the others: it runs as a task of its
    own, owned here and ended by `aclose`.
    """

    def __init__(self) -> None:
        self._flights: dict[str, asyncio.Task[T]] = {}

    async def do(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of the load under way for this key, or start one."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(load))
            self._flights[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    def _land(self, key: str, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            # Mark the error as seen: all callers may have gone away.
            task.exception()

    async def aclose(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(load: Callable[[], Awaitable[T]]) -> T:
    return await load()
