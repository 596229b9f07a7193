"""The event log of one kind in PostgreSQL, with the snapshots folded from it.

The append is the fence: one statement locks the ownership rows that stand exactly where the claims
say, moves them on and inserts. Whoever lost ownership, or decided on an older state, matches no
row. (Measured and raced: locking in id order avoids deadlocks, `FOR NO KEY UPDATE` conflicts with
the takeover's UPDATE, and without a lock a paused writer gets through.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg

from src.state.errors import DurableTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.models import Claim, Entry, Event, Version
from src.state.protocols import PAGE, Kind, ReadModel, Snapshot
from src.state.tiers.postgres import TIMELINE, Line, Pool

_APPEND = """
WITH claim AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS claim(id, epoch, seq, grows)
), held AS MATERIALIZED (
    SELECT head.id, claim.grows FROM {heads} head JOIN claim ON claim.id = head.id
    WHERE {fence}
    ORDER BY head.id FOR NO KEY UPDATE OF head
), moved AS (
    UPDATE {heads} head SET seq = head.seq + held.grows FROM held WHERE head.id = held.id
), put AS (
    INSERT INTO {events}
        (conversation_id, seq, epoch, event_id, type, schema, body, actor, occurred_at)
    SELECT fresh.* FROM unnest($6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::text[],
        $11::int[], $12::bytea[], $13::text[], $14::timestamptz[])
        AS fresh(id, seq, epoch, event_id, type, schema, body, actor, occurred_at)
    JOIN held ON held.id = fresh.id {conflicts}
)
SELECT id FROM held
"""

# The same for one event alone, as a lone speaker makes them: one row needs no order of locks, and
# without arrays the statement costs two thirds.
_APPEND_ONE = """
WITH held AS (
    UPDATE {heads} head SET seq = head.seq + 1
    WHERE head.id = $2 AND {fence} RETURNING head.id
)
INSERT INTO {events}
    (conversation_id, seq, epoch, event_id, type, schema, body, actor, occurred_at)
SELECT held.id, $4 + 1, $3, $5, $6, $7, $8, $9, $10 FROM held {conflicts}
RETURNING conversation_id
"""

_COLUMNS = "seq, epoch, event_id, type, schema, body, actor, occurred_at"

_TAIL = f"""
SELECT {_COLUMNS} FROM {{events}}
WHERE conversation_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3
"""

# The same, up to the event that passes so many bytes. PostgreSQL knows the length of a long body
# without reading it, so what is left out is not read.
_TAIL_OF_BYTES = f"""
SELECT {_COLUMNS} FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
    FROM {{events}} WHERE conversation_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3) page
WHERE before <= $4 ORDER BY seq
"""

# One statement, so snapshot and tail are of one moment. The snapshot travels in the first row.
_LOAD = f"""
WITH base AS (SELECT epoch, seq, schema, body FROM {{snapshots}} WHERE conversation_id = $1)
(SELECT seq, epoch, '' AS event_id, '' AS type, schema, body, '' AS actor,
        NULL::timestamptz AS occurred_at FROM base)
UNION ALL
(SELECT {_COLUMNS} FROM {{events}}
 WHERE conversation_id = $1 AND seq >= coalesce((SELECT seq FROM base), 1)
 ORDER BY seq LIMIT {PAGE})
"""

_FIND = """
SELECT conversation_id, event_id, epoch, seq FROM {events}
WHERE (conversation_id, event_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

_GONE = """
SELECT known.*, coalesce(newest.epoch, 0) AS found_epoch, coalesce(newest.seq, 0) AS found_seq
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS known(id, epoch, seq)
LEFT JOIN LATERAL (
    SELECT epoch, seq FROM {events} WHERE conversation_id = known.id ORDER BY seq DESC LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
    SELECT seq FROM {events} WHERE conversation_id = known.id ORDER BY seq LIMIT 1
) oldest ON true
WHERE NOT EXISTS (
    SELECT FROM {events} event WHERE event.conversation_id = known.id
        AND event.seq = known.seq AND event.epoch = known.epoch)
    AND coalesce(oldest.seq, 0) <= known.seq
"""

_QUARANTINE = """
INSERT INTO quarantine (kind, aggregate_id, event_id, type, body, why)
SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (
    SELECT FROM quarantine WHERE kind = $1 AND aggregate_id = $2 AND event_id = $3)
"""

_SAVE = """
INSERT INTO {snapshots} AS old (conversation_id, epoch, seq, schema, body)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (conversation_id) DO UPDATE
    SET epoch = excluded.epoch, seq = excluded.seq, schema = excluded.schema, body = excluded.body
    WHERE {newer} old.schema <= excluded.schema
"""


_NEWER = "(old.epoch, old.seq) < (excluded.epoch, excluded.seq) AND"


def _fence(guards: Guards, *, epoch: str, seq: str) -> str:
    """Return what the ownership row must say for a claim to stand."""
    owner = f"head.owner_id = $1 AND head.epoch = {epoch}"
    if not guards.epoch:
        owner = f"$1::text IS NOT NULL AND {epoch}::bigint IS NOT NULL"
    place = f"head.seq = {seq}" if guards.seq else f"{seq}::bigint IS NOT NULL"
    return f"{owner} AND {place}"


def _read_model_statement(model: ReadModel[Any], guards: Guards) -> str:
    columns = ", ".join(model.columns)
    places = ", ".join(f"${n}" for n in range(1, len(model.columns) + 1))
    assignments = ", ".join(f"{name} = excluded.{name}" for name in model.columns[1:])
    return (
        f"INSERT INTO {model.table} AS old ({columns}) VALUES ({places}) "
        f"ON CONFLICT ({model.columns[0]}) DO UPDATE SET {assignments}"
        f"{' WHERE old.seq < excluded.seq' if guards.newer else ''}"
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _event(id: str, row: asyncpg.Record) -> Event:
    return Event(
        id,
        Version(row["epoch"], row["seq"]),
        row["event_id"],
        row["type"],
        row["schema"],
        row["body"],
        row["actor"],
        row["occurred_at"],
    )


class PostgresLog:
    """`EventLog` of one kind. Appends go over a line of their own, the rest over the pool.

    `timeline` gives the one that the server knows of; 0 while it knows none.
    """

    def __init__(
        self,
        kind: Kind[Any, Any],
        pool: Pool,
        line: Line,
        *,
        guards: Guards = ALL_ON,
        timeline: Callable[[], int] = lambda: 0,
    ) -> None:
        names = {"heads": kind.heads, "events": kind.events, "snapshots": kind.snapshots}
        conflicts = "" if guards.whole else "ON CONFLICT DO NOTHING"
        self._kind = kind
        self._pool = pool
        self._line = line
        self._timeline = timeline
        self._append = _APPEND.format(
            fence=_fence(guards, epoch="claim.epoch", seq="claim.seq"), conflicts=conflicts, **names
        )
        self._append_one = _APPEND_ONE.format(
            fence=_fence(guards, epoch="$3", seq="$4"), conflicts=conflicts, **names
        )
        self._tail = _TAIL.format(**names)
        self._tail_of_bytes = _TAIL_OF_BYTES.format(**names)
        self._load = _LOAD.format(**names)
        self._find = _FIND.format(**names)
        self._gone = _GONE.format(**names)
        self._save = _SAVE.format(newer=_NEWER if guards.newer else "", **names)
        self._models = [(model, _read_model_statement(model, guards)) for model in kind.read_models]

    async def append(self, server_id: str, claims: Sequence[Claim]) -> frozenset[str]:
        events = [event for claim in claims for event in claim.events]
        if len(events) == 1:
            return await self._append_single(server_id, claims[0], events[0])
        arguments = (
            server_id,
            [claim.aggregate_id for claim in claims],
            [claim.epoch for claim in claims],
            [claim.base_seq for claim in claims],
            [len(claim.events) for claim in claims],
            [event.aggregate_id for event in events],
            [event.version.seq for event in events],
            [event.version.epoch for event in events],
            [event.event_id for event in events],
            [event.type for event in events],
            [event.schema for event in events],
            [event.body for event in events],
            [event.actor for event in events],
            [event.at for event in events],
        )
        async with self._line.use() as connection:
            return frozenset(row[0] for row in await connection.fetch(self._append, *arguments))

    async def _append_single(self, server_id: str, claim: Claim, event: Event) -> frozenset[str]:
        async with self._line.use() as connection:
            id = await connection.fetchval(
                self._append_one,
                server_id,
                event.aggregate_id,
                claim.epoch,
                claim.base_seq,
                event.event_id,
                event.type,
                event.schema,
                event.body,
                event.actor,
                event.at,
            )
        return frozenset() if id is None else frozenset((id,))

    async def find(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Version]:
        rows = await self._pool.fetch(
            self._find, [pair[0] for pair in wanted], [pair[1] for pair in wanted]
        )
        return {(row[0], row[1]): Version(row[2], row[3]) for row in rows}

    async def load(self, id: str) -> tuple[Snapshot | None, Sequence[Event]]:
        rows = await self._pool.fetch(self._load, id)
        if rows and rows[0]["occurred_at"] is None:
            first = rows[0]
            version = Version(first["epoch"], first["seq"])
            snapshot = Snapshot(id, version, first["schema"], first["body"])
            return snapshot, [_event(id, row) for row in rows[1:]]
        return None, [_event(id, row) for row in rows]

    async def tail(
        self, id: str, from_seq: int, limit: int = PAGE, max_bytes: int | None = None
    ) -> Sequence[Event]:
        if max_bytes is None:
            rows = await self._pool.fetch(self._tail, id, from_seq, limit)
        else:
            rows = await self._pool.fetch(self._tail_of_bytes, id, from_seq, limit, max_bytes)
        return [_event(id, row) for row in rows]

    async def gone(
        self, known: Sequence[tuple[str, Version]]
    ) -> Mapping[tuple[str, Version], Version]:
        rows = await self._pool.fetch(
            self._gone,
            [id for id, _ in known],
            [version.epoch for _, version in known],
            [version.seq for _, version in known],
        )
        return {
            (id, Version(epoch, seq)): Version(found_epoch, found_seq)
            for id, epoch, seq, found_epoch, found_seq in rows
        }

    async def quarantine(self, events: Sequence[Event], why: str) -> None:
        rows = [
            (
                self._kind.name,
                _storable(event.aggregate_id),
                _storable(event.event_id),
                _storable(event.type),
                event.body,
                _storable(why),
            )
            for event in events
        ]
        async with self._pool.lend() as connection:
            await connection.executemany(_QUARANTINE, rows)

    async def save(self, entries: Sequence[Entry[Any]]) -> None:
        # In id order, so that two servers flushing the same rows cannot block each other for good.
        ordered = sorted(entries, key=lambda entry: entry.id)
        encode, schema = self._kind.encode_state, self._kind.schema
        snapshots = [
            (entry.id, entry.version.epoch, entry.version.seq, schema, entry.body(encode))
            for entry in ordered
        ]
        async with self._pool.lend() as connection, connection.transaction():
            expected = self._timeline()
            if expected and await connection.fetchval(f"SELECT {TIMELINE}") != expected:
                raise DurableTierUnavailable("PostgreSQL is on another timeline by now")
            await connection.executemany(self._save, snapshots)
            for model, statement in self._models:
                await connection.executemany(statement, [model.row(entry) for entry in ordered])
