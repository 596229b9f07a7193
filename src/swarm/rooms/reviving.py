"""Rooms whose host died: somebody else hosts them, as soon as the death is known.

LiveKit finds it out itself only when the connections of the dead have timed out, and does not
always send the swarm again then.
"""

from __future__ import annotations

import asyncio

import structlog

from src.state.errors import TierUnavailable
from src.state.protocols import Clock
from src.swarm.rooms.service import RoomService

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0
_TRIES = 30
"""After so many the duty `rooms` is left to find what is missing."""


class Reviver:
    """Sends the swarms of dead servers anew."""

    def __init__(self, rooms: RoomService, clock: Clock) -> None:
        self._rooms, self._clock = rooms, clock
        self._dead: dict[str, int] = {}
        self._wake = asyncio.Event()

    def died(self, server_id: str) -> None:
        """Look after the rooms that this server hosted."""
        self._dead.setdefault(server_id, 0)
        self._wake.set()

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for server_id in list(self._dead):
                if not await self._revive(server_id):
                    await self._clock.sleep(_AGAIN_S)
                    self._wake.set()

    async def _revive(self, server_id: str) -> bool:
        self._dead[server_id] += 1
        try:
            revived = await self._rooms.revive(server_id)
        except TierUnavailable as error:
            log.warning("rooms.not_revived", server=server_id, error=str(error))
            if self._dead[server_id] < _TRIES:
                return False
        else:
            if revived:
                log.info("rooms.revived", server=server_id, rooms=revived)
        del self._dead[server_id]
        return True
