"""The servers that host rooms, as each of them says with its beat, and how many there should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import structlog

from src.state.errors import TierUnavailable
from src.state.models import Peer, Places
from src.state.ownership.membership import Membership
from src.state.records.swarm_queue import Line
from src.swarm.rooms.queue import Queue

log = structlog.get_logger(__name__)

_FILL = 0.8
"""Part of all places that is meant to be taken: the rest is for who comes while a server starts."""
_ASSUMED_PLACES = 10
"""Of a server, while there is none to see it by."""


class WorkerItem(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A server that hosts rooms."""

    server_id: str
    url: str
    state: Literal["ready", "full", "draining"]
    capacity: int
    """Rooms that it can host at once; 0 while it drains."""
    sessions: int
    """Rooms that it hosts."""
    load: float
    """The part of its places that is taken, as LiveKit is told too: 0 to 1."""
    silent_s: float
    """Seconds since the answering server saw its beat move."""


class WorkersReport(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """All of them, and who waits for a place, as the answering server saw it last."""

    total_workers: int
    ready_workers: int
    """Those with a free place."""
    total_places: int
    total_sessions: int
    session_queue_length: int
    oldest_wait_s: float
    """How long the first in line has waited, in seconds."""
    dead_sessions: int
    """Swarms whose sending failed too often: `swarmstate queue list` shows them."""
    wanted_workers: int
    """How many servers there should be for the rooms that are and those that wait."""
    workers: tuple[WorkerItem, ...]


class Workers:
    """This server among those that host rooms."""

    def __init__(self, membership: Membership, queue: Queue | None) -> None:
        self._membership, self._queue = membership, queue

    def offer(self, places: Callable[[], Places]) -> None:
        """Have each beat say what places this server has."""
        self._membership.places = places

    async def tell(self) -> None:
        """Say it now."""
        await self._membership.tell()

    async def tell_free(self) -> None:
        """Say it now, and give what is free to who waits."""
        await self.tell()
        if self._queue is None:
            return
        try:
            await self._queue.serve()
        except TierUnavailable as error:
            # The next look does it.
            log.warning("queue.not_served", error=str(error))

    def report(self) -> WorkersReport:
        """Describe all of them."""
        silent_s = self._membership.silent_s
        line = Line() if self._queue is None else self._queue.line
        return describe([(peer, silent_s(peer)) for peer in self._membership.peers.values()], line)

    def counts(self) -> Mapping[str, float]:
        """Return the sums, for metrics: each server gives those of all."""
        report = self.report()
        return {
            "workers": report.total_workers,
            "workers_ready": report.ready_workers,
            "places": report.total_places,
            "sessions": report.total_sessions,
            "workers_wanted": report.wanted_workers,
        }


def describe(peers: Sequence[tuple[Peer, float]], line: Line) -> WorkersReport:
    """Describe the living ones of these servers that host rooms; each comes with its silence."""
    items = [
        _item(peer, silent_s)
        for peer, silent_s in peers
        if not peer.dead and peer.places != Places()
    ]
    sessions = sum(one.sessions for one in items)
    each = max((one.capacity for one in items), default=0) or _ASSUMED_PLACES
    return WorkersReport(
        len(items),
        sum(one.state == "ready" for one in items),
        sum(one.capacity for one in items),
        sessions,
        line.waiting,
        round(line.oldest_s, 3),
        line.dead,
        wanted(sessions + line.waiting, each),
        tuple(sorted(items, key=lambda one: one.server_id)),
    )


def wanted(sessions: int, each: int) -> int:
    """Return how many servers of `each` places so many rooms want, some places free."""
    return math.ceil(sessions / (each * _FILL))


def _item(peer: Peer, silent_s: float) -> WorkerItem:
    capacity, load = peer.places.capacity, peer.places.load
    state: Literal["ready", "full", "draining"]
    state = "draining" if capacity == 0 else "full" if load >= capacity else "ready"
    part = min(1.0, load / capacity) if capacity else 1.0
    return WorkerItem(
        peer.id, peer.url, state, capacity, load, round(part, 3), round(max(0.0, silent_s), 3)
    )
