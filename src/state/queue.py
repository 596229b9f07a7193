"""The line of swarms that wait for a server with a free place, for the operator who looks at it.

Rows that are placed are nobody's concern here. The others stay until they are sent on their way
again, are dropped, or their room begins a new life.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from src.state.records.swarm_queue import QUEUED, Queued, Standing
from src.state.tiers.postgres import Connection, answering, open_connection

SHOWN: tuple[Standing, ...] = ("waiting", "expired", "dead")

_LIST = f"SELECT {QUEUED} WHERE s.state = ANY($1::text[]) ORDER BY s.ticket LIMIT $2"
_SHOW = f"SELECT {QUEUED} WHERE s.room_id = $1"
_REQUEUE = """
UPDATE room_swarms s SET state = 'waiting', attempts = 0, why = '', claimed_at = '-infinity',
    next_try = now(), enqueued_at = now(), deadline = now() + $2::interval
FROM rooms r
WHERE s.room_id = ANY($1::text[]) AND s.state IN ('expired', 'dead')
    AND r.id = s.room_id AND r.began = s.began AND NOT r.over AND r.deleted_at IS NULL
RETURNING s.room_id
"""
# A claim that is fresh is somebody's, who is sending it now.
_DROP = """
DELETE FROM room_swarms
WHERE room_id = ANY($1::text[]) AND state <> 'placed' AND claimed_at < now() - interval '30 s'
RETURNING room_id
"""


class QueueDesk:
    """The table, over one connection. Every method raises DurableTierUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self, states: Sequence[Standing] = SHOWN, limit: int = 100) -> Sequence[Queued]:
        """Return swarms that stand so, in order of their tickets."""
        with answering():
            rows = await self._connection.fetch(_LIST, states, limit)
        return [Queued(**row) for row in rows]

    async def show(self, room_id: str) -> Queued | None:
        """Return how a room's swarm comes; None when none was asked for."""
        with answering():
            row = await self._connection.fetchrow(_SHOW, room_id)
        return None if row is None else Queued(**row)

    async def requeue(self, room_ids: Sequence[str], wait: timedelta) -> Sequence[str]:
        """Put expired and dead ones back in line, at their old places; return which there were.

        Those whose room is over stay: a new life of it asks anew.
        """
        with answering():
            rows = await self._connection.fetch(_REQUEUE, room_ids, wait)
        return sorted(row["room_id"] for row in rows)

    async def drop(self, room_ids: Sequence[str]) -> Sequence[str]:
        """Delete rows: nobody asked for these swarms any more. Returns which there were."""
        with answering():
            rows = await self._connection.fetch(_DROP, room_ids)
        return sorted(row["room_id"] for row in rows)


@asynccontextmanager
async def open_queue(database_url: str) -> AsyncIterator[QueueDesk]:
    """Open the table for the length of the block.

    Raises:
        DurableTierUnavailable: the database does not answer; it is named.
    """
    async with open_connection(database_url) as connection:
        yield QueueDesk(connection)
