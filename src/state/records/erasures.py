"""Telling every server what was erased, on both ways that there are.

A server may be deaf to Redis and another to PostgreSQL: the outbox reaches the first within a pull,
the bus the second. What has heard of it shows no copy from before, whatever goes away later.
"""

from __future__ import annotations

import structlog
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.configs import OUTBOX_LOCK, answering
from src.state.errors import StateError
from src.state.models import ZERO, Announcement
from src.state.protocols import ChangePublisher, Trip, open_way
from src.state.tiers.tables import outbox

log = structlog.get_logger(__name__)

ERASED = "erased"
"""The kind of such an announcement; no config has this name, and nobody outside hears of it."""


class Erasures:
    """Announces them."""

    def __init__(
        self, engine: AsyncEngine, publisher: ChangePublisher, *, way: Trip = open_way
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._way = way

    async def tell(self, id: str) -> None:
        """Announce that a conversation is erased; each server hears of it within a pull.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; it may be announced.
        """
        with answering():
            async with self._way(), self._engine.begin() as connection:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({OUTBOX_LOCK})"))
                values = {"kind": ERASED, "id": id, "version": 0}
                await connection.execute(insert(outbox).values(values))
        try:
            await self._publisher.publish([Announcement(ERASED, id, ZERO)])
        except StateError as error:
            # Committed is committed: the outbox tells the other servers within half a second.
            log.warning("erasure.announce_failed", error=str(error))
