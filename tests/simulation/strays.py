"""Requests that arrive after their asker gave up, even after it crashed: a time-out says nothing
about what is still on its way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from src.state.errors import StateError

_PATIENCE_S = (0.05, 1.5)
_UNDER_WAY_S = ((0.0, 4.0), (2.0, 10.0))


class Strays:
    """One server's way to one store."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chance: random.Random,
        error: type[StateError],
        arrived: Callable[[str, Any], None],
    ) -> None:
        self._loop, self._chance, self._error, self._arrived = loop, chance, error, arrived
        self.next = 0
        """So many of the next requests go astray."""
        self.then: Callable[[], None] | None = None
        """What happens to the asker meanwhile."""
        self.under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def lead(self, store: object, *names: str) -> None:
        """Put these requests of a store on this way."""
        for name in names:
            setattr(store, name, self._way(name, getattr(store, name)))

    def _way(self, name: str, real: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
        async def ask(*given: Any, **named: Any) -> Any:
            if not self.next:
                return await real(*given, **named)
            self.next -= 1
            # Outside of the server's process, which may crash meanwhile.
            stray = self._arrive(name, real, given, named)
            task = self._loop.create_task(stray, context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(self._chance.uniform(*_PATIENCE_S))
            then, self.then = self.then, None
            if then is not None:
                then()
            raise self._error("no answer in time")

        return ask

    async def _arrive(
        self,
        name: str,
        real: Callable[..., Coroutine[Any, Any, Any]],
        given: tuple[Any, ...],
        named: dict[str, Any],
    ) -> None:
        self.under_way += 1
        try:
            await asyncio.sleep(self._chance.uniform(*self._chance.choice(_UNDER_WAY_S)))
            self._arrived(name, await real(*given, **named))
        except StateError as error:
            self._arrived(name, error)
        finally:
            self.under_way -= 1

    async def end(self) -> None:
        """Let nothing arrive any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
