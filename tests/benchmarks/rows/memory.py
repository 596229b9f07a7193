"""What a conversation in L1 costs: bytes, and objects that the collector must visit."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.lab import Lab
from tests.benchmarks.row import Round, Sample, Target, row


async def _fill(lab: Lab, ids: list[str]) -> None:
    for id in ids:
        await lab.inside.store.get(id)


@row(
    "l1-bytes",
    path="bytes of a conversation kept in L1",
    against="its encoded size",
    unit="B",
    target=Target(ratio_at_most=3.0),
    rounds=1,
)
@asynccontextmanager
async def l1_bytes(lab: Lab) -> AsyncIterator[Round]:
    ids = await lab.library("bytes", lab.scaled(500, 20))

    async def measure() -> Sample:
        lab.inside.forget(ids)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await _fill(lab, ids)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        entries = [lab.inside.store.peek(id) for id in ids]
        encoded = sum(len(lab.service.body(entry)) for entry in entries if entry is not None)
        return Sample((after - before) / len(ids), encoded / len(ids))

    yield measure


@row(
    "l1-objects",
    path="objects per conversation in L1 that the collector must visit",
    against="",
    unit="",
    target=Target(at_most=0.01),
    rounds=1,
)
@asynccontextmanager
async def l1_objects(lab: Lab) -> AsyncIterator[Round]:
    ids = await lab.library("objects", lab.scaled(500, 20))

    async def measure() -> Sample:
        await _fill(lab, ids)
        lab.inside.forget(ids)
        gc.collect()
        before = len(gc.get_objects())
        await _fill(lab, ids)
        gc.collect()
        # Connections and tasks come and go beside us; what each entry adds would add up.
        return Sample(max(0, len(gc.get_objects()) - before) // len(ids))

    yield measure
