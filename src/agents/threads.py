"""Calls between two event loops: a job's, in its thread, and the server's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_LEAVE_S = 5.0
"""How long a context of another loop may take to close before it is left to that loop."""


async def in_loop(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], within: Context | None = None
) -> T:
    """Await work that belongs to another loop; who gives up here gives it up there.

    It sees the context variables of `within`, or without it those of who asks.

    Raises:
        RuntimeError: that loop is closed.
    """
    begin = partial(asyncio.run_coroutine_threadsafe, work, loop)
    try:
        # A copy, since a context can be entered once at a time.
        future = begin() if within is None else within.copy().run(begin)
    except RuntimeError:
        work.close()
        raise
    return await asyncio.wrap_future(future)


@asynccontextmanager
async def opened_in(
    loop: asyncio.AbstractEventLoop,
    context: AbstractAsyncContextManager[T],
    within: Context | None = None,
) -> AsyncIterator[T]:
    """Hold a context of another loop open for the length of the block, in one task there.

    `within`: as `in_loop` has it.

    Raises:
        RuntimeError: that loop is closed.
        TimeoutError: it did not close in time.
        and what entering or leaving it raises.
    """
    entered: Future[tuple[T, asyncio.Event]] = Future()

    async def hold() -> None:
        async with context as value:
            left = asyncio.Event()
            entered.set_result((value, left))
            await left.wait()

    held = in_loop(loop, hold(), within)
    holding = asyncio.ensure_future(held)
    entering = asyncio.wrap_future(entered)
    try:
        await asyncio.wait((holding, entering), return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            await holding
            raise RuntimeError("the context ended as it began")
    except BaseException:
        entering.cancel()
        holding.cancel()
        raise
    value, left = entering.result()
    try:
        yield value
    finally:
        loop.call_soon_threadsafe(left.set)
        async with asyncio.timeout(_LEAVE_S):
            await holding


@asynccontextmanager
async def own_loop(name: str) -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread of its own for the length of the block.

    What is still at work in it at the end is cancelled.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        left = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), left))
        await left.wait()

    # A daemon, since a plugin that hangs in it must not keep the process alive.
    thread = threading.Thread(target=lambda: asyncio.run(run()), name=name, daemon=True)
    thread.start()
    loop, left = await asyncio.wrap_future(begun)
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(left.set)
        await asyncio.to_thread(thread.join, _LEAVE_S)
