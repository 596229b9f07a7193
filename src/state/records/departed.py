"""The rows of servers that died long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog

from src.state.models import Term
from src.state.protocols import Kind
from src.state.tiers.postgres import Pool
from src.state.tiers.postgres_ownership import cannot_wait

log = structlog.get_logger(__name__)

_KEEP = timedelta(days=1)
_FREED_AT_ONCE = 500

# By its epoch, so that a row which somebody takes meanwhile stays theirs.
_FREE = """
UPDATE {heads} SET owner_id = NULL
FROM (SELECT head.id, head.epoch FROM servers JOIN {heads} head ON head.owner_id = servers.id
    WHERE servers.dead_at < now() - $1::interval AND NOT ({cannot_wait}) LIMIT $2) settled
WHERE {heads}.id = settled.id AND {heads}.epoch = settled.epoch
RETURNING settled.id
"""

_FORGET = """
DELETE FROM servers WHERE dead_at < now() - $1::interval
    AND NOT EXISTS (SELECT FROM {heads} head WHERE head.owner_id = servers.id)
RETURNING id
"""


class Departed:
    """Forgets servers that died a day ago and own nothing any more.

    What waits for use is freed first. What cannot wait keeps its server's row: only by that do
    servers which start later know that there is something to take over.
    """

    def __init__(self, kind: Kind[Any, Any], pool: Pool) -> None:
        condition, self._values = cannot_wait(kind, 3)
        self._free = _FREE.format(heads=kind.heads, cannot_wait=condition)
        self._forget = _FORGET.format(heads=kind.heads)
        self._pool = pool

    async def forget_as_duty(self, _: Term) -> None:
        """Forget on behalf of all servers. Two at once do no harm: every step can be repeated."""
        await self.forget()

    async def forget(self) -> int:
        """Free what waits, a bounded number of rows at a time; return how many servers went.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; the rest waits for the next run.
        """
        freed = _FREED_AT_ONCE
        while freed == _FREED_AT_ONCE:
            freed = len(await self._pool.fetch(self._free, _KEEP, _FREED_AT_ONCE, *self._values))
        forgotten = len(await self._pool.fetch(self._forget, _KEEP))
        if forgotten:
            log.info("servers.forgotten", servers=forgotten)
        return forgotten
