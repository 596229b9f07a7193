"""Work that goes on beside a block of code and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

_AGAIN_S = 0.2


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these for the length of the block; if one fails, so does the block.

    At the end each is cancelled until it has ended.
    """
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one, name=getattr(one, "__qualname__", None)) for one in work]
        try:
            yield
        finally:
            await end(started)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel each task, in order, until it has ended.

    Once is not enough: Python 3.11's `wait_for`, and drivers built on it, swallow a cancel that
    arrives together with their answer, and a loop around them would go on for ever.
    """
    waiting = list(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=_AGAIN_S)
        waiting = [task for task in waiting if not task.done()]
