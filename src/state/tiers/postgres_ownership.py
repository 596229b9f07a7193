"""Who owns what, and who is alive, in PostgreSQL.

Every statement is a single autocommit one. No clock of the database decides anything: beats are
counted, and whoever watches compares them with its own clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.state.guards import ALL_ON, Guards
from src.state.models import NO_PLACES, Change, Held, OwnedBy, Peer, Places
from src.state.protocols import PULLED, Kind, Pulled
from src.state.tiers.postgres import TIMELINE, Line, Pool

_ACQUIRE = """
UPDATE {heads} head
SET owner_id = $1, epoch = greatest(head.epoch + 1, {timeline} << 32)
WHERE head.id = $2 AND (
    head.owner_id IS NULL OR head.owner_id = $1
    OR NOT EXISTS (SELECT FROM servers WHERE servers.id = head.owner_id AND dead_at IS NULL))
RETURNING epoch, seq
"""

_CREATE = """
INSERT INTO {heads} (id, owner_id, epoch, seq) VALUES ($2, $1, {timeline} << 32, 0)
ON CONFLICT (id) DO NOTHING RETURNING epoch, seq
"""

_OWNER = "SELECT owner_id, epoch, seq FROM {heads} WHERE id = $1"

_RELEASE = """
UPDATE {heads} head SET owner_id = NULL
FROM unnest($2::text[], $3::bigint[]) AS held(id, epoch)
WHERE head.id = held.id AND head.owner_id = $1 AND head.epoch = held.epoch
"""

_HAND_OVER = """
UPDATE {heads} head SET owner_id = $4, epoch = head.epoch + 1
FROM unnest($2::text[], $3::bigint[]) AS held(id, epoch)
WHERE head.id = held.id AND head.owner_id = $1 AND head.epoch = held.epoch
    AND EXISTS (SELECT FROM servers WHERE servers.id = $4 AND dead_at IS NULL)
RETURNING head.id
"""

_ORPHANS = """
SELECT head.id FROM {heads} head
WHERE head.owner_id = $1 AND head.id > $2 AND ({cannot_wait})
ORDER BY head.id LIMIT $3
"""

_DIRTY = """
    head.seq > coalesce((SELECT s.seq FROM {snapshots} s WHERE s.conversation_id = head.id), 0)"""

_LIVE = """
    OR EXISTS (SELECT FROM {table} m
        WHERE m.{key} = head.id AND (m.{column} = ${place}{unknown}))"""

_UNKNOWN = " OR m.{live_seq} IS DISTINCT FROM m.{seq}"

_DECLARE_DEAD = """
UPDATE servers SET dead_at = now() WHERE id = $1 AND {silent} AND dead_at IS NULL RETURNING id
"""

_CHANGES = """
SELECT position, kind, id, version, at FROM outbox WHERE position > $1 ORDER BY position LIMIT $2
"""


def cannot_wait(kind: Kind[Any, Any], place: int) -> tuple[str, list[Any]]:
    """Return the condition under which a row `head` needs an owner though nobody asks for it.

    It has parameters from `place` on; their values come with it.
    """
    condition = _DIRTY.format(snapshots=kind.snapshots)
    values: list[Any] = []
    for model in kind.read_models:
        if model.live is None:
            continue
        key, seq = model.columns[:2]
        column, value = model.live
        unknown = (
            "" if model.live_seq is None else _UNKNOWN.format(live_seq=model.live_seq, seq=seq)
        )
        condition += _LIVE.format(
            table=model.table, key=key, column=column, place=place + len(values), unknown=unknown
        )
        values.append(value)
    return condition, values


class PostgresOwnership:
    """`Ownership` of one kind."""

    def __init__(self, kind: Kind[Any, Any], pool: Pool, *, guards: Guards = ALL_ON) -> None:
        names = {"heads": kind.heads, "snapshots": kind.snapshots}
        timeline = TIMELINE if guards.timeline else "0::bigint"
        self._pool = pool
        self._acquire = _ACQUIRE.format(timeline=timeline, **names)
        self._create = _CREATE.format(timeline=timeline, **names)
        self._owner = _OWNER.format(**names)
        self._release = _RELEASE.format(**names)
        self._hand_over = _HAND_OVER.format(**names)
        condition, self._live = cannot_wait(kind, 4)
        self._orphans = _ORPHANS.format(cannot_wait=condition, **names)

    async def acquire(self, server_id: str, id: str, *, create: bool) -> Held | OwnedBy | None:
        async with self._pool.lend() as connection:
            if create:
                row = await connection.fetchrow(self._create, server_id, id)
                if row is not None:
                    return Held(row["epoch"], row["seq"])
            row = await connection.fetchrow(self._acquire, server_id, id)
            if row is not None:
                return Held(row["epoch"], row["seq"])
            row = await connection.fetchrow(self._owner, id)
        if row is None:
            return None
        return OwnedBy(row["owner_id"] or "", row["epoch"], row["seq"])

    async def release(self, server_id: str, held: Mapping[str, int]) -> None:
        ids = sorted(held)
        await self._pool.execute(self._release, server_id, ids, [held[id] for id in ids])

    async def hand_over(self, server_id: str, held: Mapping[str, int], to: str) -> frozenset[str]:
        ids = sorted(held)
        epochs = [held[id] for id in ids]
        rows = await self._pool.fetch(self._hand_over, server_id, ids, epochs, to)
        return frozenset(row["id"] for row in rows)

    async def orphans(self, server_id: str, after: str, limit: int) -> Sequence[str]:
        rows = await self._pool.fetch(self._orphans, server_id, after, limit, *self._live)
        return [row["id"] for row in rows]


class PostgresRegistry:
    """`Registry`. The beat has a line of its own: queued work must not make a server look dead."""

    def __init__(self, beat_line: Line, pull_line: Line, *, guards: Guards = ALL_ON) -> None:
        self._beat_line = beat_line
        self._pull_line = pull_line
        silent = "beat = $2" if guards.beat else "$2::bigint IS NOT NULL"
        self._declare_dead = _DECLARE_DEAD.format(silent=silent)

    async def register(self, server_id: str, url: str) -> None:
        async with self._beat_line.use() as connection:
            await connection.execute(
                "INSERT INTO servers (id, url) VALUES ($1, $2)", server_id, url
            )

    async def beat(self, server_id: str, places: Places = NO_PLACES) -> bool:
        async with self._beat_line.use() as connection:
            beat = await connection.fetchval(
                "UPDATE servers SET beat = beat + 1, capacity = $2, load = $3 "
                "WHERE id = $1 AND dead_at IS NULL RETURNING beat",
                server_id,
                places.capacity,
                places.load,
            )
        return beat is not None

    async def declare_dead(self, server_id: str, beat: int) -> bool:
        async with self._pull_line.use() as connection:
            found = await connection.fetchval(
                self._declare_dead,
                server_id,
                beat,
            )
        return found is not None

    async def set_announces(self, server_id: str, announces: bool) -> bool:
        async with self._beat_line.use() as connection:
            found = await connection.fetchval(
                "UPDATE servers SET announces = $2 WHERE id = $1 RETURNING id",
                server_id,
                announces,
            )
        return found is not None

    async def pull(self, outbox_after: int) -> Pulled:
        async with self._pull_line.use() as connection:
            # Dead servers stay in view while conversations point at them (records/departed.py).
            peers = await connection.fetch(
                "SELECT id, url, beat, announces, dead_at IS NOT NULL AS dead, capacity, load "
                "FROM servers"
            )
            changes = await connection.fetch(_CHANGES, outbox_after, PULLED)
            ends = await connection.fetch(
                f"SELECT coalesce((SELECT max(position) FROM outbox), 0), {TIMELINE}"
            )
            end, timeline = ends[0]
        return Pulled(
            tuple(
                Peer(id, url, beat, announces, dead, Places(capacity, load))
                for id, url, beat, announces, dead, capacity, load in peers
            ),
            tuple(Change(*row) for row in changes),
            changes[-1][0] if changes else min(outbox_after, end),
            timeline,
            len(changes) == PULLED,
        )

    async def timeline(self) -> int:
        """Return the timeline; also the cheapest way to ask whether the primary answers."""
        async with self._pull_line.use() as connection:
            timeline: int = await connection.fetchval(f"SELECT {TIMELINE}")
        return timeline

    async def outbox_end(self) -> int:
        """Return the newest outbox position: a server that starts has nothing older to hear."""
        async with self._pull_line.use() as connection:
            end: int = await connection.fetchval("SELECT coalesce(max(position), 0) FROM outbox")
        return end

    async def leave(self, server_id: str) -> None:
        async with self._beat_line.use() as connection:
            await connection.execute(
                "UPDATE servers SET dead_at = now() WHERE id = $1 AND dead_at IS NULL", server_id
            )
