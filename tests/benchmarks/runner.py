"""One run: all rows opened, then visited round by round."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from src.embedded import Servers
from tests.benchmarks.lab import open_lab
from tests.benchmarks.row import Outcome, Row, Sample

console = Console(stderr=True)

_ROUND_S = 90.0
"""No row's round takes nearly as long; one that waits for ever shall be named."""


async def run(
    servers: Servers,
    apart: Servers,
    folder: Path,
    rows: Sequence[Row],
    rounds: int,
    *,
    quick: bool,
) -> list[Outcome]:
    """Open all rows, then visit each of them in every round."""
    samples: dict[str, list[Sample]] = {one.name: [] for one in rows}
    steps = len(rows) + sum(min(rounds, one.rounds) for one in rows)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn())
    async with AsyncExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, TimeElapsedColumn(), console=console))
        task = progress.add_task("opening the servers", total=steps)
        lab = await stack.enter_async_context(open_lab(servers, apart, folder, quick=quick))
        measures = {}
        for one in rows:
            progress.update(task, description=f"preparing {one.name}")
            measures[one.name] = await stack.enter_async_context(one.open(lab))
            await lab.settle()
            progress.advance(task)
        for number in range(rounds):
            for one in rows:
                if number >= one.rounds:
                    continue
                progress.update(task, description=f"round {number + 1}: {one.name}")
                gc.collect()
                async with asyncio.timeout(_ROUND_S):
                    samples[one.name].append(await measures[one.name]())
                    await lab.settle()
                progress.advance(task)
    return [Outcome(one, tuple(samples[one.name])) for one in rows]
