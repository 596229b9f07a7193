"""Reads: hits in L1, L2 and L3 against the bare parts."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import fmean, median
from time import perf_counter
from typing import Any

from cachetools import LRUCache

from src.state.models import Where
from src.state.tiers.keys import body_key
from src.swarm.rules.conversations import CONVERSATIONS
from src.swarm.shapes.codec import decode_state
from tests.benchmarks.duel import eventually
from tests.benchmarks.lab import Lab
from tests.benchmarks.row import Round, Sample, Target, row

_HOT = 100
_COLD = 200


class Hot:
    """Conversations that this server owns, all of them in L1, and the loop that reads them."""

    def __init__(self, lab: Lab, ids: list[str]) -> None:
        self.ids = ids
        self.laps = lab.scaled(200, 5)
        self.store = lab.inside.store

    def ours(self) -> float:
        """Return the seconds of one `peek`."""
        return self.synchronous(self.store.peek)

    def synchronous(self, get: Callable[[str], object]) -> float:
        """Return the seconds of one call."""
        ids = list(itertools.chain.from_iterable(itertools.repeat(self.ids, self.laps)))
        assert all(get(id) is not None for id in self.ids)
        began = perf_counter()
        for id in ids:
            get(id)
        return (perf_counter() - began) / len(ids)

    async def awaited(self, get: Callable[[str], Awaitable[object]]) -> float:
        """Return the seconds of one awaited call."""
        ids = self.ids * max(1, self.laps // 10)
        began = perf_counter()
        for id in ids:
            await get(id)
        return (perf_counter() - began) / len(ids)


async def open_hot(lab: Lab, prefix: str) -> Hot:
    """Make the conversations."""
    ids = [f"{prefix}-{number}" for number in range(_HOT)]
    await lab.make(ids, turns=2)
    await lab.settle()
    return Hot(lab, ids)


@row(
    "l1-hit",
    path="L1 hit: `peek`, metrics on",
    against="bare cachetools LRU get",
    unit="s",
    target=Target(ratio_at_most=5.0),
)
@asynccontextmanager
async def l1_hit(lab: Lab) -> AsyncIterator[Round]:
    hot = await open_hot(lab, "hot")
    bare: LRUCache[str, object] = LRUCache(1000)
    for id in hot.ids:
        bare[id] = hot.store.peek(id)

    async def measure() -> Sample:
        return Sample(hot.ours(), hot.synchronous(bare.get))

    yield measure


@row(
    "l2-hit",
    path="L2 hit with decode, 8 KB",
    against="bare redis-py GET + the same decode",
    unit="s",
    target=Target(ratio_at_most=1.3),
)
@asynccontextmanager
async def l2_hit(lab: Lab) -> AsyncIterator[Round]:
    ids = await lab.library("l2", lab.scaled(_COLD, 20))
    store = lab.inside.store
    for id in ids:
        # Bytes: the client does not decode, which its stubs cannot say.
        body: Any = await lab.redis.hget(body_key(CONVERSATIONS.name, id), "body")
        await lab.redis.set(f"bench:{id}", body, ex=900)

    async def measure() -> Sample:
        ours, against = [], []
        for id in ids:
            lab.inside.forget([id])
            began = perf_counter()
            read = await store.get(id)
            took = perf_counter() - began
            if read is not None and read.where is Where.L2:
                ours.append(took)
            began = perf_counter()
            found: Any = await lab.redis.get(f"bench:{id}")
            decode_state(found)
            against.append(perf_counter() - began)
        _check_tier(ours, against)
        return Sample(median(ours), median(against))

    yield measure


_BARE_L3 = "SELECT epoch, seq, schema, body FROM snapshots WHERE conversation_id = $1"


@row(
    "l3-hit",
    path="L3 hit with decode, the miss in L2 before it and the fill of L2 after it included",
    against="bare asyncpg fetchrow + the same decode",
    unit="s",
    target=Target(ratio_at_most=1.3),
)
@asynccontextmanager
async def l3_hit(lab: Lab) -> AsyncIterator[Round]:
    ids = await lab.library("l3", lab.scaled(_COLD, 20))
    keys = [body_key(CONVERSATIONS.name, id) for id in ids]
    store = lab.inside.store

    async def filled() -> bool:
        return not store.fills._waiting

    async def measure() -> Sample:
        await lab.redis.delete(*keys)
        lab.inside.forget(ids)
        ours, against = [], []
        for id in ids:
            began = perf_counter()
            read = await store.get(id)
            took = perf_counter() - began
            if read is not None and read.where is Where.L3:
                ours.append(took)
            began = perf_counter()
            found = await lab.pool.fetchrow(_BARE_L3, id)
            assert found is not None
            decode_state(found["body"])
            against.append(perf_counter() - began)
        _check_tier(ours, against)
        await eventually(filled)
        return Sample(fmean(ours), fmean(against))

    yield measure


def _check_tier(ours: list[float], against: list[float]) -> None:
    """Check that the reads were answered where the row says; the few others are left out.

    On a starved machine Redis may answer too late for a read, which then goes on to L3.
    """
    assert len(ours) >= 0.9 * len(against), f"{len(ours)} of {len(against)} reads from that tier"
