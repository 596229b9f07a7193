"""Telling the others: over Redis, and over PostgreSQL while Redis is away."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from src.invalidation.protocols import Bus, Notices
from src.state.errors import SharedTierUnavailable
from src.state.membership import Membership
from src.state.models import Announcement
from src.state.protocols import Registry

log = structlog.get_logger(__name__)


class Announcer:
    """`ChangePublisher` over the bus; falls back to notices and says so in L3.

    Once `announces = false` stands in this server's row, the others probe L3 for what it owns, so
    an ack may follow although Redis heard nothing.
    """

    def __init__(
        self, bus: Bus, notices: Notices, registry: Registry, membership: Membership
    ) -> None:
        self._bus = bus
        self._notices = notices
        self._registry = registry
        self._membership = membership
        self._silent_as: str | None = None
        self.published = 0
        self.fallbacks = 0

    async def publish(self, changes: Sequence[Announcement]) -> None:
        origin = self._membership.id
        try:
            await self._bus.publish(origin, changes)
        except SharedTierUnavailable as error:
            if self._silent_as != origin:
                log.warning("announce.fell_back", error=str(error))
                await self._registry.set_announces(origin, False)
                self._silent_as = origin
            await self._notices.publish(origin, changes)
            self.fallbacks += 1
            return
        self.published += 1
        if self._silent_as is not None:
            await self._registry.set_announces(origin, True)
            self._silent_as = None
            log.info("announce.recovered")
