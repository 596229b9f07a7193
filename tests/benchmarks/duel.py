"""Measuring two sides of one row in turns, so that a noisy moment of the machine hits both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

Operation = Callable[[], Awaitable[object]]


async def latencies(
    ours: Operation, against: Operation, count: int, block: int = 25
) -> tuple[list[float], list[float]]:
    """Return how long each of `count` operations took on each side, in seconds."""
    sides: tuple[tuple[Operation, list[float]], ...] = ((ours, []), (against, []))
    for _ in range(max(1, count // block)):
        for operation, taken in sides:
            for _ in range(min(block, count)):
                began = perf_counter()
                await operation()
                taken.append(perf_counter() - began)
    return sides[0][1], sides[1][1]


async def seconds(operation: Operation) -> float:
    """Return how long one operation took."""
    began = perf_counter()
    await operation()
    return perf_counter() - began


async def eventually(
    condition: Callable[[], Awaitable[bool]], *, within_s: float = 20.0, every_s: float = 0.01
) -> None:
    """Return when the condition holds.

    Raises:
        TimeoutError: it does not, in that time.
    """
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(every_s)
