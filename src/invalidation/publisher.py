"""Telling the others: over Redis, and over PostgreSQL while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from src.invalidation.protocols import Bus, Notices
from src.state.buffers import Buffer
from src.state.errors import DurableTierUnavailable, SharedTierUnavailable
from src.state.models import Announcement, Version
from src.state.ownership.membership import Membership
from src.state.protocols import Clock, Registry

log = structlog.get_logger(__name__)

_HEAL_S = 0.5
_MAX_UNTOLD = 10_000
_NOBODY = ""


class Announcer:
    """`ChangePublisher` over the bus; falls back to notices and says so in L3.

    While `announces = false` stands in a server's row, the others trust no copy of theirs without
    asking L3, so an ack may follow although Redis heard nothing. The row says true again only when
    Redis has been told everything that went by notice alone: its heads would be too low for ever.
    """

    def __init__(
        self,
        bus: Bus,
        notices: Notices,
        registry: Registry,
        membership: Membership,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._notices = notices
        self._registry = registry
        self._membership = membership
        self._clock = clock
        self._silent_as: str | None = None
        self._untold: dict[tuple[str, str], Version] = {}
        self._overflowed = False
        self._left_out = 0
        # One way at a time: a recovery must not overtake a fall-back that it did not see.
        self._turn = asyncio.Lock()
        self.published = 0
        self.fallbacks = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {"untold": Buffer(len(self._untold), _MAX_UNTOLD, self._left_out)}

    async def publish(self, changes: Sequence[Announcement]) -> None:
        if self._silent_as is None:
            try:
                await self._bus.publish(self._membership.id, changes)
            except SharedTierUnavailable as error:
                log.warning("announce.fell_back", error=str(error))
            else:
                self.published += 1
                return
        async with self._turn:
            await self._fall_back(changes)

    async def _fall_back(self, changes: Sequence[Announcement]) -> None:
        origin = self._membership.id
        for change in changes:
            self._untold[change.kind, change.id] = change.version
        if len(self._untold) > _MAX_UNTOLD:
            self._left_out += len(self._untold)
            self._untold.clear()
            self._overflowed = True
        if self._silent_as != origin:
            if not await self._registry.set_announces(origin, False):
                raise DurableTierUnavailable(f"server {origin} is not registered yet")
            self._silent_as = origin
        await self._notices.publish(origin, changes)
        self.fallbacks += 1

    async def heal_for_ever(self) -> None:
        """Tell Redis what it missed, as soon as it can be told, until cancelled."""
        while True:
            await self._clock.sleep(_HEAL_S)
            try:
                await self.heal()
                await self._heal_the_dead()
            except (SharedTierUnavailable, DurableTierUnavailable):
                continue

    async def heal(self) -> None:
        """Tell Redis now what it missed, if anything.

        Raises:
            SharedTierUnavailable: it cannot be told yet.
        """
        if self._silent_as is None:
            return
        async with self._turn:
            if self._overflowed:
                await self._bus.renew()
                self._overflowed = False
            untold = [Announcement(*name, version) for name, version in self._untold.items()]
            await self._bus.publish(self._membership.id, untold)
            self._untold.clear()
            # Without an answer nobody knows what the row says: the next fall-back writes it anew.
            self._silent_as = _NOBODY
            await self._registry.set_announces(self._membership.id, True)
            self._silent_as = None
            log.info("announce.recovered", changes=len(untold))

    async def _heal_the_dead(self) -> None:
        """A server that died silent told nobody what Redis missed: nothing there is an answer."""
        for server_id in self._membership.died_silent():
            await self._bus.renew()
            await self._registry.set_announces(server_id, True)
            log.info("announce.renewed", server=server_id)
