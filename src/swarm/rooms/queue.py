"""The line of swarms at the door of the servers that host rooms.

Every swarm goes through it, also when a place is free and it waits for nothing. The line is served
by whoever changes it: who puts a swarm in, who has a place that came free, who finds a server
dead. So nobody has to be woken; a look every two seconds finds what somebody left undone, what is
to be tried again, and who has waited too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from src.state.errors import TierUnavailable
from src.state.protocols import Clock
from src.state.records.rooms import Room
from src.state.records.swarm_queue import Line, Queued, Standing, SwarmQueue
from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import PATIENCE, Media
from src.swarm.rooms.settings import LiveKitSettings

log = structlog.get_logger(__name__)

_LOOK_S = 2.0
_WHEN_ASKED: tuple[Standing, ...] = ("placed", "expired")
_WHEN_MISSED: tuple[Standing, ...] = ("placed",)
_AT_ONCE = 20
"""Swarms that one server sends before it goes on with what it was asked for."""


class Queue:
    """One server's part in the line of all."""

    def __init__(self, records: SwarmQueue, media: Media, settings: LiveKitSettings) -> None:
        self._records, self._media = records, media
        self._wait: timedelta = settings.queue_timeout
        self._attempts = settings.queue_attempts
        self.line = Line()
        """The line when it was last looked at."""
        self._sent = self._failed = self._expired = self._died = 0

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, and the line as it saw it, for metrics."""
        return {
            "swarms_sent": self._sent,
            "swarms_failed": self._failed,
            "swarms_expired": self._expired,
            "swarms_died": self._died,
            "swarms_waiting": self.line.waiting,
            "swarms_oldest_wait_s": self.line.oldest_s,
            "swarms_dead": self.line.dead,
        }

    async def find(self, room: Room) -> Queued | None:
        """Return how the swarm comes to the room's present life; None: none was asked for."""
        found = await self._records.find(room.id)
        return found if found is not None and found.began == room.began else None

    async def enter(self, room: Room) -> None:
        """Have the swarm of a life that may be new come; in one that is not nothing changes."""
        if await self._records.enter(room, self._wait):
            await self.serve()

    async def ask(self, room: Room) -> Queued:
        """Have it come, also when it came before or waited in vain.

        Raises:
            MediaUnavailable: it cannot be found out whether it is there.
        """
        found = await self.find(room)
        placed = found is not None and found.state == "placed"
        if not placed or await self._media.dispatched(room.id, anew=True) is None:
            await self._records.enter(room, self._wait, again_from=_WHEN_ASKED, anew=True)
        await self.serve()
        found = await self._records.find(room.id)
        assert found is not None, "it was entered"
        return found

    async def miss(self, room: Room) -> None:
        """Look after a swarm that is not there though it was sent: LiveKit offers it but once.

        Raises:
            MediaUnavailable: it cannot be found out whether it comes yet.
        """
        found = await self.find(room)
        if found is None:
            await self.enter(room)
            return
        placed = found.state == "placed"
        if placed and await self._media.dispatched(room.id, anew=False) is None:
            at_most = self._attempts
            await self._records.enter(room, self._wait, again_from=_WHEN_MISSED, attempts=at_most)

    async def revive(self, room: Room) -> bool:
        """Put the swarm of a room whose host died at its old place; say whether this call did.

        `serve` is for the caller: all of them first, so that they go in their order.
        """
        return await self._records.enter_orphan(room, self._wait)

    async def serve(self) -> None:
        """Send whom there are places for, in order."""
        for _ in range(_AT_ONCE):
            taken = await self._records.take(PATIENCE)
            if taken is None:
                return
            await self._send(taken)

    async def run(self, clock: Clock) -> None:
        """Look after the line until cancelled."""
        while True:
            await clock.sleep(_LOOK_S)
            try:
                await self.look()
            except TierUnavailable as error:
                log.warning("queue.not_seen", error=str(error))

    async def look(self) -> None:
        """Find what somebody left undone, and who has waited too long."""
        self.line = await self._records.count()
        if self.line.waiting:
            expired = await self._records.expire()
            if expired:
                log.warning("swarms.expired", swarms=expired)
            self._expired += expired
            await self.serve()
            self.line = await self._records.count()

    async def _send(self, one: Queued) -> None:
        dispatch, to = self._media.dispatch, (one.room_id, one.conversation_id)
        try:
            sent = await dispatch(*to, anew=one.anew, lost=one.lost)
        except MediaUnavailable as error:
            self._failed += 1
            log.warning("swarm.not_sent", room=one.room_id, error=str(error))
            if await self._records.failed(one, str(error), self._attempts):
                self._died += 1
                log.error("swarm.dead", room=one.room_id, attempts=one.attempts)
        except BaseException:
            await self._records.release(one)
            raise
        else:
            await self._records.sent(one, sent)
            self._sent += 1
            log.info("swarm.sent", room=one.room_id, dispatch=sent)
