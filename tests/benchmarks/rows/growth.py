"""Cost must grow in line with the number of conversations, no faster."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import fmean
from time import perf_counter

from tests.benchmarks.lab import WRITERS, Lab, crowd
from tests.benchmarks.row import Round, Sample, Target, row


@row(
    "growth",
    path="slope of the cost of a turn and its flush in N conversations, log against log",
    against="linear growth",
    unit="",
    target=Target(at_most=1.1),
    rounds=2,
)
@asynccontextmanager
async def growth(lab: Lab) -> AsyncIterator[Round]:
    sizes = (10, 30, 100) if lab.quick else (100, 1000, 10_000)
    ids = [f"growth-{number}" for number in range(sizes[-1])]
    await lab.make(ids, turns=1)
    await lab.settle()

    async def measure() -> Sample:
        costs = []
        for size in sizes:
            # The small sizes more than once: all three should take long enough to be timed.
            times = max(1, min(10, 1000 // size))
            began = perf_counter()
            for _ in range(times):
                await crowd(WRITERS, ids[:size], lab.speak)
                await lab.settle()
            costs.append((perf_counter() - began) / times)
        each = ", ".join(
            f"{size}: {cost / size * 1e6:.0f} us" for size, cost in zip(sizes, costs, strict=True)
        )
        return Sample(_slope(sizes, costs), 1.0, f"per conversation at {each}")

    yield measure


def _slope(sizes: tuple[int, ...], costs: list[float]) -> float:
    """Return the exponent of the power law that fits best."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = fmean(x), fmean(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
