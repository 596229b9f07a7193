"""Measuring two sides of one row in turns, so that a noisy moment of the machine hits both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter, process_time

from tests.benchmarks.row import Sample

Operation = Callable[[], Awaitable[object]]


async def duel(ours: Operation, against: Operation, count: int, block: int = 25) -> Sample:
    """Time about `count` operations of each side, a block of ours and a block of the other's.

    Returns the medians, in seconds, and in the note the CPU time that each costs this process:
    under a noisy neighbour the steadier figure.
    """
    sides = (ours, against)
    taken: tuple[list[float], list[float]] = ([], [])
    cpu = [0.0, 0.0]
    for _ in range(max(1, count // block)):
        for side, operation in enumerate(sides):
            cpu_began = process_time()
            for _ in range(min(block, count)):
                began = perf_counter()
                await operation()
                taken[side].append(perf_counter() - began)
            cpu[side] += process_time() - cpu_began
    mine, other = (cpu[side] / len(taken[side]) * 1e6 for side in (0, 1))
    note = f"CPU of the calling process {mine:.0f} us against {other:.0f} us"
    return Sample(median(taken[0]), median(taken[1]), note)


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
