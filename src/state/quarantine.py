"""What PostgreSQL could never take, for the operator who has to look at it.

Events that were refused (their callers were told so), and states whose snapshot could not be
written (their events are in the log, so nothing is lost). Rows stay until they are dropped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from src.state.tiers.postgres import Connection, answering, open_connection

_LIST = """
SELECT position, kind, aggregate_id, event_id, type, why, length(body) AS size, at
FROM quarantine WHERE position > $1 ORDER BY position LIMIT $2
"""
_SHOW = """
SELECT position, kind, aggregate_id, event_id, type, why, length(body) AS size, at, body
FROM quarantine WHERE position = $1
"""
_DROP = "DELETE FROM quarantine WHERE position = ANY($1::bigint[]) RETURNING position"


class Quarantined(msgspec.Struct, frozen=True):
    """One row."""

    position: int
    """Its number; later ones are higher."""
    kind: str
    aggregate_id: str
    event_id: str
    """`snapshot` for a state."""
    type: str
    why: str
    """What PostgreSQL answered."""
    size: int
    """Bytes of its body."""
    at: datetime


class Quarantine:
    """The table, over one connection. Every method raises DurableTierUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Quarantined]:
        """Return rows beyond a position, in order."""
        with answering():
            rows = await self._connection.fetch(_LIST, after, limit)
        return [Quarantined(**row) for row in rows]

    async def show(self, position: int) -> tuple[Quarantined, bytes] | None:
        """Return a row with its body; None when there is none."""
        with answering():
            row = await self._connection.fetchrow(_SHOW, position)
        if row is None:
            return None
        fields = dict(row)
        body = fields.pop("body")
        return Quarantined(**fields), body

    async def drop(self, positions: Sequence[int]) -> Sequence[int]:
        """Delete rows; return the positions that were there."""
        with answering():
            rows = await self._connection.fetch(_DROP, positions)
        return sorted(row["position"] for row in rows)


@asynccontextmanager
async def open_quarantine(database_url: str) -> AsyncIterator[Quarantine]:
    """Open the table for the length of the block.

    Raises:
        DurableTierUnavailable: the database does not answer; it is named.
    """
    async with open_connection(database_url) as connection:
        yield Quarantine(connection)
