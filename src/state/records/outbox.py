"""The outbox: every committed change of a config, in the order of their commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from src.state.models import Term
from src.state.tiers.postgres import Pool

log = structlog.get_logger(__name__)

# The newest row always stays: positions below the oldest row that is there are known to be gone.
_PRUNE = """
DELETE FROM outbox WHERE position IN (
    SELECT position FROM outbox
    WHERE at < now() - $1::interval AND position < (SELECT max(position) FROM outbox)
    ORDER BY position LIMIT $2)
RETURNING position
"""

_PRUNED_AT_ONCE = 5_000


class Outbox:
    """The table. Every method raises DurableTierUnavailable without an answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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
