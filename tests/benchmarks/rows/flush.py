"""Writing behind: how fast a flush is, and how many updates become one row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from tests.benchmarks.duel import eventually
from tests.benchmarks.lab import WRITERS, Lab, crowd
from tests.benchmarks.row import Round, Sample, Target, row

_UPSERT = """
INSERT INTO bench_snapshots (conversation_id, epoch, seq, schema, body)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (conversation_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
    schema = excluded.schema, body = excluded.body
"""


@row(
    "flush",
    path="flush of 1000 dirty conversations, rows/s; encoding, read model and L2 included",
    against="bare executemany upsert of the same bytes",
    unit="/s",
    target=Target(ratio_at_least=0.7),
)
@asynccontextmanager
async def flush(lab: Lab) -> AsyncIterator[Round]:
    ids = [f"dirty-{number}" for number in range(lab.scaled(1000, 50))]
    await lab.make(ids, turns=8)
    await lab.settle()
    await lab.line.execute("CREATE TABLE bench_snapshots (LIKE snapshots INCLUDING ALL)")
    columns = "conversation_id, epoch, seq, schema, body"

    async def measure() -> Sample:
        await crowd(WRITERS, ids, lab.speak)
        began = perf_counter()
        await lab.inside.writebehind.flush_all()
        ours = len(ids) / (perf_counter() - began)
        rows = await lab.line.fetch(
            f"SELECT {columns} FROM snapshots WHERE conversation_id LIKE 'dirty-%'"
        )
        assert len(rows) == len(ids)
        same = [tuple(found) for found in rows]
        began = perf_counter()
        await lab.line.executemany(_UPSERT, same)
        return Sample(ours, len(same) / (perf_counter() - began))

    yield measure


_COUNT = """
CREATE TABLE bench_writes (id bigserial);
CREATE FUNCTION bench_count() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO bench_writes DEFAULT VALUES; RETURN NULL; END $$;
"""
_WATCH = """
CREATE TRIGGER bench_count AFTER INSERT OR UPDATE ON snapshots
FOR EACH ROW WHEN (NEW.conversation_id = 'collapse') EXECUTE FUNCTION bench_count()
"""


@row(
    "collapse",
    path="snapshot rows for 50 logged updates within 2 s, counted by a trigger",
    against="50 updates",
    unit="",
    target=Target(at_most=1),
    rounds=2,
)
@asynccontextmanager
async def collapse(lab: Lab) -> AsyncIterator[Round]:
    id = "collapse"
    await lab.make([id], turns=2)
    await lab.settle()
    await lab.line.execute(_COUNT)

    async def measure() -> Sample:
        await lab.line.execute(_WATCH)
        before = await lab.line.fetchval("SELECT count(*) FROM bench_writes")
        for _ in range(50):
            receipt = await lab.speak(id)
        await eventually(lambda: _flushed(lab, id, receipt.version.seq))
        after = await lab.line.fetchval("SELECT count(*) FROM bench_writes")
        await lab.line.execute("DROP TRIGGER bench_count ON snapshots")
        return Sample(after - before, 50)

    yield measure


async def _flushed(lab: Lab, id: str, seq: int) -> bool:
    found = await lab.line.fetchval("SELECT seq FROM snapshots WHERE conversation_id = $1", id)
    return bool(found == seq)
