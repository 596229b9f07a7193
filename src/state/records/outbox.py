"""The outbox: every committed change of a config, in the order of their commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import structlog

from src.state.models import Change, Term
from src.state.tiers.postgres import Pool

log = structlog.get_logger(__name__)

# The newest row always stays: positions below the oldest row that is there are known to be gone.
# An active webhook holds back what it has not been told; it gives up after a bounded time.
_PRUNE = """
DELETE FROM outbox WHERE position IN (
    SELECT position FROM outbox
    WHERE at < now() - $1::interval AND position < (SELECT max(position) FROM outbox)
        AND NOT EXISTS (SELECT FROM webhooks WHERE active AND webhooks.position < outbox.position)
    ORDER BY position LIMIT $2)
RETURNING position
"""

# The ends come with every row, so that one statement, and thus one moment, says all.
_AFTER = """
SELECT ends.oldest, ends.newest, found.position, found.kind, found.id, found.version, found.at
FROM (SELECT min(position) AS oldest, coalesce(max(position), 0) AS newest FROM outbox) ends
LEFT JOIN LATERAL (
    SELECT * FROM outbox WHERE position > $1 ORDER BY position LIMIT $2) found ON true
ORDER BY found.position
"""

_PRUNED_AT_ONCE = 5_000


class Page(msgspec.Struct, frozen=True, gc=False):
    """A piece of the outbox."""

    changes: tuple[Change, ...]
    newest: int
    """The newest position that there is; 0 before the first."""
    missing: bool = False
    """Changes next to the position asked for were removed, or it is of another database: whoever
    was there has to read everything anew and go on at `newest`."""


class Outbox:
    """The table. Every method raises DurableTierUnavailable without an answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def after(self, position: int, limit: int) -> Page:
        """Return the changes beyond a position, in order."""
        rows = await self._pool.fetch(_AFTER, position, limit)
        changes = tuple(Change(*list(row)[2:]) for row in rows if row["position"] is not None)
        oldest, newest = rows[0]["oldest"], rows[0]["newest"]
        missing = newest < position or (oldest is not None and oldest - 1 > position)
        return Page(() if missing else changes, newest, missing)

    def retention(self, keep: timedelta) -> Callable[[Term], Awaitable[None]]:
        """Return the duty's run that keeps the table small."""

        async def run(_: Term) -> None:
            removed = await self.prune(keep)
            if removed:
                log.info("outbox.pruned", changes=removed)

        return run

    async def prune(self, keep: timedelta) -> int:
        """Remove what is older than `keep`, a bounded number at a time; return how many."""
        removed = 0
        while True:
            rows = await self._pool.fetch(_PRUNE, keep, _PRUNED_AT_ONCE)
            removed += len(rows)
            if len(rows) < _PRUNED_AT_ONCE:
                return removed
