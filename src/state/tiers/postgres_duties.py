"""Who does what for all, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.state.tiers.postgres import TIMELINE, Pool

_SEE = """
SELECT duty.name, duty.owner_id, duty.epoch, server.id IS NOT NULL AS lives
FROM duties duty LEFT JOIN servers server ON server.id = duty.owner_id AND server.dead_at IS NULL
WHERE duty.name = ANY($1::text[])
"""

_TAKE = f"""
INSERT INTO duties AS duty (name, owner_id, epoch)
SELECT name, $1, {TIMELINE} << 32 FROM unnest($2::text[]) AS name
ON CONFLICT (name) DO UPDATE
SET owner_id = excluded.owner_id, epoch = greatest(duty.epoch + 1, excluded.epoch)
WHERE NOT EXISTS (SELECT FROM servers WHERE servers.id = duty.owner_id AND dead_at IS NULL)
RETURNING name, epoch
"""

FENCE = """
SELECT FROM duties WHERE name = $1 AND owner_id = $2 AND epoch = $3 FOR SHARE
"""
"""A row while a `Term` (duty, server, epoch) stands; nobody can take the duty before the statement
that holds this has ended."""


class PostgresDuties:
    """`Duties`. Single autocommit statements, as for all ownership."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def hold(self, server_id: str, names: Sequence[str]) -> Mapping[str, int]:
        rows = await self._pool.fetch(_SEE, names)
        held = {row["name"]: row["epoch"] for row in rows if row["owner_id"] == server_id}
        free = sorted(set(names) - {row["name"] for row in rows if row["lives"]} - set(held))
        if free:
            taken = await self._pool.fetch(_TAKE, server_id, free)
            held |= {row["name"]: row["epoch"] for row in taken}
        return held
