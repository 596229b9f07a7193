"""Against what one would use instead: other caches, and LangGraph's checkpointer.

The only module that imports them: they are installed for `make bench` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from aiocache import SimpleMemoryCache
from aiocache.serializers import NullSerializer
from cashews import Cache
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from msgspec.json import decode as decode_json
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from tests.benchmarks.duel import duel
from tests.benchmarks.lab import Lab, crowd
from tests.benchmarks.row import Round, Sample, Target, row
from tests.benchmarks.rows.acks import acks_per_second
from tests.benchmarks.rows.reads import open_hot

_numbers = itertools.count(1)


@row(
    "l1-cashews",
    path="L1 hit: `peek`, metrics on",
    against="cashews `mem://` get",
    unit="s",
    target=Target(ratio_at_most=0.25),
)
@asynccontextmanager
async def l1_cashews(lab: Lab) -> AsyncIterator[Round]:
    hot = await open_hot(lab, "cashews")
    cache = Cache()
    cache.setup("mem://", size=1000)
    for id in hot.ids:
        await cache.set(id, hot.store.peek(id), expire=900)

    async def measure() -> Sample:
        return Sample(hot.ours(), await hot.awaited(cache.get))

    yield measure
    await cache.close()


@row(
    "l1-aiocache",
    path="L1 hit: `peek`, metrics on",
    against="aiocache SimpleMemoryCache get",
    unit="s",
    target=Target(ratio_at_most=0.1),
)
@asynccontextmanager
async def l1_aiocache(lab: Lab) -> AsyncIterator[Round]:
    hot = await open_hot(lab, "aiocache")
    cache = SimpleMemoryCache(serializer=NullSerializer())
    for id in hot.ids:
        await cache.set(id, hot.store.peek(id), ttl=900)

    async def measure() -> Sample:
        return Sample(hot.ours(), await hot.awaited(cache.get))

    yield measure
    await cache.clear()


@asynccontextmanager
async def _open_langgraph(lab: Lab, id: str) -> AsyncIterator[_Checkpoints]:
    """LangGraph's saver on a pool of 16, with the state of a conversation of ours."""
    pool = AsyncConnectionPool(
        lab.servers.database_url,
        min_size=16,
        max_size=16,
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        body = lab.service.body((await lab.service.read(id)).entry)
        yield _Checkpoints(saver, decode_json(body))


class _Checkpoints:
    """Turns of a conversation as checkpoints: what a turn changes gets a new version."""

    _CHANGED = ("messages", "stats", "version", "updated_at", "window_bytes")

    def __init__(self, saver: AsyncPostgresSaver, state: dict[str, Any]) -> None:
        self._saver, self._state = saver, state

    async def put(self, id: str) -> None:
        number = next(_numbers)
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = self._state
        versions = {name: f"{number if name in self._CHANGED else 1:032}" for name in self._state}
        checkpoint["channel_versions"] = versions
        await self._saver.aput(
            {"configurable": {"thread_id": id, "checkpoint_ns": ""}},
            checkpoint,
            {"source": "loop", "step": number, "parents": {}},
            {name: versions[name] for name in self._CHANGED},
        )


@row(
    "langgraph-64",
    path="logged acks/s, 64 writers, flush included",
    against="LangGraph AsyncPostgresSaver.aput of an 8 KB state, 64 writers",
    unit="/s",
    target=Target(ratio_at_least=10.0),
)
@asynccontextmanager
async def langgraph_64(lab: Lab) -> AsyncIterator[Round]:
    ids = [f"graph-{number}" for number in range(64)]
    each, their_each = lab.scaled(60, 2), lab.scaled(8, 1)
    await lab.make(ids)
    async with _open_langgraph(lab, ids[0]) as checkpoints:

        async def measure() -> Sample:
            ours = await acks_per_second(lab, ids, each)
            began = perf_counter()
            await crowd(64, [id for _ in range(their_each) for id in ids], checkpoints.put)
            return Sample(ours, 64 * their_each / (perf_counter() - began))

        yield measure


@row(
    "langgraph-1",
    path="logged ack, 1 writer",
    against="LangGraph AsyncPostgresSaver.aput of an 8 KB state, 1 writer",
    unit="s",
    target=Target(ratio_at_most=1.0),
)
@asynccontextmanager
async def langgraph_1(lab: Lab) -> AsyncIterator[Round]:
    id = "graph-alone"
    await lab.make([id])
    async with _open_langgraph(lab, id) as checkpoints:

        async def measure() -> Sample:
            return await duel(
                lambda: lab.speak(id), lambda: checkpoints.put(id), lab.scaled(150, 10)
            )

        yield measure
