"""Acknowledged writes: one writer, many writers, under a flush, and from memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter

from src.state.models import Durability
from src.swarm.shapes.commands import CountUsage
from tests.benchmarks.duel import duel, seconds
from tests.benchmarks.lab import WRITERS, Lab, crowd
from tests.benchmarks.row import Round, Sample, Target, quantile, row

_INSERT = """
INSERT INTO bench_events
    (conversation_id, seq, epoch, event_id, type, schema, body, actor, occurred_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_LIKE_OURS = "CREATE TABLE IF NOT EXISTS bench_events (LIKE events INCLUDING ALL)"
_numbers = itertools.count(1)


class _Insert:
    """The bare way to keep an event: one INSERT of the same row, awaited."""

    def __init__(self, arguments: list[object]) -> None:
        self._arguments = arguments

    @classmethod
    async def of(cls, lab: Lab, id: str) -> _Insert:
        """Copy the newest event of a conversation into a table with the same keys as ours."""
        await lab.line.execute(_LIKE_OURS)
        last = await lab.last_event(id)
        return cls([last.type, last.schema, last.body, last.actor, last.at])

    def row(self, id: str) -> list[object]:
        number = next(_numbers)
        return [id, number, 1, f"b{number}:0", *self._arguments]


@row(
    "ack-1",
    path="logged ack, 1 writer, the announcement included",
    against="bare asyncpg INSERT of the same event, awaited",
    unit="s",
    target=Target(ratio_at_most=2.0),
)
@asynccontextmanager
async def ack_1(lab: Lab) -> AsyncIterator[Round]:
    id = "ack-1"
    await lab.make([id])
    insert = await _Insert.of(lab, id)

    async def measure() -> Sample:
        return await duel(
            lambda: lab.speak(id),
            lambda: lab.line.execute(_INSERT, *insert.row(id)),
            lab.scaled(300, 10),
        )

    yield measure


@row(
    "ack-flush",
    path="p99 of the logged ack, 1 writer, while 1000 snapshots are flushed",
    against="the same without the flush",
    unit="s",
    target=Target(ratio_at_most=3.0),
)
@asynccontextmanager
async def ack_flush(lab: Lab) -> AsyncIterator[Round]:
    id = "ack-flush"
    crowded = [f"flushed-{number}" for number in range(lab.scaled(1000, 50))]
    await lab.make([id], turns=2)
    await lab.make(crowded, turns=2)
    await lab.settle()

    async def until(done: asyncio.Task[None] | None, count: int) -> list[float]:
        taken: list[float] = []
        while len(taken) < count and (done is None or not done.done()):
            taken.append(await seconds(lambda: lab.speak(id)))
        return taken

    async def measure() -> Sample:
        during: list[float] = []
        for _ in range(lab.scaled(2, 1)):
            await crowd(WRITERS, crowded, lab.speak)
            flush = asyncio.create_task(lab.inside.writebehind.flush_all())
            during += await until(flush, 100_000)
            await flush
        without = await until(None, max(lab.scaled(200, 10), len(during)))
        return Sample(
            quantile(during, 0.99), quantile(without, 0.99), f"{len(during)} acks during the flush"
        )

    yield measure


async def acks_per_second(lab: Lab, ids: list[str], each: int) -> float:
    """Return the rate, the writing of all snapshots and read models at the end included."""
    began = perf_counter()
    await crowd(len(ids), [id for _ in range(each) for id in ids], lab.speak)
    await lab.settle()
    return len(ids) * each / (perf_counter() - began)


@row(
    "ack-100",
    path="logged acks/s, 100 writers on as many conversations, flush included",
    against="the same INSERT per writer on 16 connections",
    unit="/s",
    target=Target(ratio_at_least=1.5),
)
@asynccontextmanager
async def ack_100(lab: Lab) -> AsyncIterator[Round]:
    ids = [f"ack-100-{number}" for number in range(WRITERS)]
    each = lab.scaled(40, 2)
    await lab.make(ids, turns=2)
    insert = await _Insert.of(lab, ids[0])

    async def measure() -> Sample:
        ours = await acks_per_second(lab, ids, each)

        async def write(id: str) -> None:
            await lab.pool.execute(_INSERT, *insert.row(id))

        began = perf_counter()
        await crowd(WRITERS, [id for _ in range(each) for id in ids], write)
        return Sample(ours, len(ids) * each / (perf_counter() - began))

    yield measure


@row(
    "ack-buffered",
    path="buffered ack, p50",
    against="",
    unit="s",
    target=Target(at_most=100e-6),
)
@asynccontextmanager
async def ack_buffered(lab: Lab) -> AsyncIterator[Round]:
    id = "buffered"
    await lab.make([id])

    async def measure() -> Sample:
        await lab.settle()
        taken = [
            await seconds(lambda: lab.write(id, CountUsage(tool_calls=1), Durability.BUFFERED))
            for _ in range(lab.scaled(500, 20))
        ]
        return Sample(median(taken))

    yield measure


_ROWS_OF = """
SELECT (SELECT count(*) FROM events WHERE conversation_id = $1),
       (SELECT seq FROM conversations WHERE id = $1),
       (SELECT seq FROM snapshots WHERE conversation_id = $1)
"""


@row(
    "buffered-rows",
    path="rows that 500 buffered acks write before their flush, counted in PostgreSQL",
    against="",
    unit="",
    target=Target(at_most=0),
    rounds=2,
)
@asynccontextmanager
async def buffered_rows(lab: Lab) -> AsyncIterator[Round]:
    id = "buffered-rows"
    await lab.make([id])

    async def measure() -> Sample:
        await lab.settle()
        before = await lab.line.fetchrow(_ROWS_OF, id)
        for _ in range(lab.scaled(500, 20)):
            await lab.write(id, CountUsage(tool_calls=1), Durability.BUFFERED)
        after = await lab.line.fetchrow(_ROWS_OF, id)
        assert before is not None
        assert after is not None
        await lab.settle()
        logged = await lab.line.fetchrow(_ROWS_OF, id)
        assert logged is not None
        assert logged[0] > after[0], "the flush wrote nothing: the count above would prove nothing"
        return Sample(sum(new - old for new, old in zip(after, before, strict=True)))

    yield measure
