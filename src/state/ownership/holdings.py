"""What this server owns of one kind: taken before the first write, given up when it is time.

Ownership is a row in PostgreSQL; here is what follows from it in memory. Fence first, read second:
once the row is ours nobody else can add to the log, so what is read then is the newest there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

import structlog

from src.state.errors import (
    DurableTierUnavailable,
    NotFound,
    NotOwner,
    OwnershipLost,
    OwnershipUnknown,
)
from src.state.guards import ALL_ON, Guards
from src.state.ladder.breaker import Breaker
from src.state.models import Ack, Announcement, Entry, Held, OwnedBy, Version
from src.state.ownership.membership import Membership
from src.state.protocols import Clock, Kind, Ownership
from src.state.reads.single_flight import SingleFlight
from src.state.reads.source import Loaded, LogSource
from src.state.reads.store import Store
from src.state.writes.lane import Lane, Pending
from src.state.writes.log import GroupCommit
from src.state.writes.writebehind import WriteBehind

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger(__name__)


class Holdings(Generic[S, C]):
    """The lanes of what is owned, and how they come and go."""

    def __init__(
        self,
        kind: Kind[S, C],
        ownership: Ownership,
        membership: Membership,
        store: Store[S],
        source: LogSource[S],
        clock: Clock,
        commit: GroupCommit[S, C],
        writebehind: WriteBehind[S],
        idle_release: timedelta,
        breaker: Breaker,
        *,
        guards: Guards = ALL_ON,
    ) -> None:
        self._kind = kind
        self._ownership = ownership
        self._membership = membership
        self._store = store
        self._source = source
        self._clock = clock
        self._commit = commit
        self._writebehind = writebehind
        self._guards = guards
        self._idle_s = idle_release.total_seconds()
        self._breaker = breaker
        self._lanes: dict[str, Lane[S, C]] = {}
        self._acquiring: SingleFlight[Lane[S, C]] = SingleFlight()
        self.owned: list[Callable[[Entry[S]], None]] = []
        """Called when this server becomes the owner of something that exists."""
        self.gone: list[Callable[[str], None]] = []
        """Called when something is held no more, whatever became of it."""
        store.listeners.append(self._heard)

    def __len__(self) -> int:
        return len(self._lanes)

    def ids(self) -> list[str]:
        """Return the ids of all that is held."""
        return list(self._lanes)

    def find(self, id: str) -> Lane[S, C] | None:
        """Return the lane of an aggregate that is held."""
        return self._lanes.get(id)

    def may_act(self) -> bool:
        """Whether this server's beat is good; past its deadline it is a plain reader."""
        return self._clock.monotonic() < self._membership.lease.until

    def versions(self) -> list[tuple[str, Version]]:
        """Return all that is held and was ever logged, with its last version."""
        return [(id, lane.version) for id, lane in self._lanes.items() if lane.version.seq]

    def owns(self, id: str) -> bool:
        """Whether this server holds the aggregate and may act as its owner."""
        return id in self._lanes and self.may_act()

    # -- coming ----------------------------------------------------------------------------------

    async def acquire(self, id: str, *, create: bool) -> Lane[S, C]:
        """Become the owner and load the state.

        Raises:
            NotFound: there is no such aggregate, and none was to be created.
            NotOwner: a living server owns it; it is named.
            OwnershipLost: it went to another server while its state was loaded.
            OwnershipUnknown: this server is going away and takes nothing new.
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        try:
            return await self._acquiring.do(id, lambda: self._acquire(id, create))
        except NotFound:
            if not create:
                raise
        # Another caller's flight, which was to create nothing, has just found nothing.
        return await self._acquiring.do(id, lambda: self._acquire(id, create))

    async def _acquire(self, id: str, create: bool) -> Lane[S, C]:
        lane = self._lanes.get(id)
        if lane is not None:
            return lane
        if self._membership.leaving and self._membership.others():
            raise OwnershipUnknown(id, "this server is going away and takes nothing new")
        me = self._membership.id
        early = None if self._guards.fence else await self._source.load_with_tail(id)
        held = await self._ownership.acquire(me, id, create=create)
        if held is None:
            raise NotFound(self._kind.name, id)
        if isinstance(held, OwnedBy):
            raise NotOwner(id, held.server_id)
        if early is not None:
            return self._open(id, held, early)
        loaded = await self._source.load_with_tail(id)
        seq = 0 if loaded.entry is None else loaded.entry.version.seq
        if seq != held.seq or me != self._membership.id:
            raise OwnershipLost(id)
        return self._open(id, held, loaded)

    def _open(self, id: str, held: Held, loaded: Loaded[S]) -> Lane[S, C]:
        entry = loaded.entry
        lane: Lane[S, C] = Lane(self._kind, id, held.epoch, entry, self._clock.monotonic())
        lane.at = loaded.last_at
        self._lanes[id] = lane
        if entry is not None:
            self._store.put_owned(entry, lane.size)
            self._commit.announce(Announcement(self._kind.name, id, entry.version))
            if loaded.unsnapshotted:
                self._writebehind.mark(entry, loaded.unsnapshotted, 0, lane.size)
            for callback in self.owned:
                callback(entry)
        return lane

    async def retake(self, lane: Lane[S, C]) -> bool:
        """Raise the epoch of a lane whose row moved on without a new event; False: it is lost.

        An `acquire` that this server gave up waiting for arrives late, after the one that made
        the lane, and leaves the row ours at an epoch that nobody holds. As nothing was logged
        meanwhile the lane still has the newest state, and what is buffered on it need not go.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        me = self._membership.id
        if self._lanes.get(lane.id) is not lane or not self.may_act():
            return False
        held = await self._ownership.acquire(me, lane.id, create=False)
        if not isinstance(held, Held) or held.seq != lane.version.seq:
            return False
        if not await self._source.is_newest(lane.id, lane.version):
            return False
        if self._lanes.get(lane.id) is not lane or me != self._membership.id:
            return False
        log.info("ownership.retaken", kind=self._kind.name, id=lane.id, epoch=held.epoch)
        lane.epoch = held.epoch
        return True

    # -- going -----------------------------------------------------------------------------------

    def lose(self, lane: Lane[S, C]) -> None:
        """Drop what another server owns now; it flushes what the log has."""
        log.warning("ownership.lost", kind=self._kind.name, id=lane.id, epoch=lane.epoch)
        if self._lanes.get(lane.id) is lane:
            # Else it was taken anew meanwhile, and what is dirty belongs to the newer lane.
            self._writebehind.forget(lane.id)
        self._close(lane)

    def _close(self, lane: Lane[S, C]) -> None:
        lane.closed = True
        if lane.version.seq:
            self._store.remember(lane.id, lane.version)
        if self._lanes.get(lane.id) is lane:
            del self._lanes[lane.id]
            self._store.disown(lane.id)
            for callback in self.gone:
                callback(lane.id)
        self._commit.turn_away(lane)

    def _heard(self, id: str, version: Version) -> None:
        lane = self._lanes.get(id)
        if lane is not None and version.epoch > lane.epoch:
            self.lose(lane)

    async def deposed(self) -> None:
        """Drop everything: this process was declared dead and others may own it all by now."""
        for lane in list(self._lanes.values()):
            self.lose(lane)

    async def release_idle_for_ever(self) -> None:
        """Give up what nobody used for a while, until cancelled."""
        while True:
            await self._clock.sleep(self._idle_s / 4)
            if not self._breaker.closed:
                # Nobody could take it, and its room may be talking on.
                continue
            before = self._clock.monotonic() - self._idle_s
            try:
                await self._release([lane for lane in self._lanes.values() if lane.used < before])
            except DurableTierUnavailable as error:
                log.warning("release.unanswered", error=str(error))

    async def release_all(self) -> None:
        """Give up everything that nothing waits for, before this server goes.

        What is live keeps this server's name: in rows of a server that is gone others look for
        what has to go on, be it the one that starts next.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; the rows still name this server.
        """
        await self._release([lane for lane in self._lanes.values() if not self._is_live(lane)])

    async def caught_up(self, lanes: Sequence[Lane[S, C]]) -> None:
        """Return when all that these lanes hold now, buffered or queued, was logged or refused."""
        answers = []
        for lane in lanes:
            answer: asyncio.Future[Ack[S]] = asyncio.get_running_loop().create_future()
            self._commit.enqueue(lane, Pending(None, "", "", None, answer))
            answers.append(answer)
        await asyncio.gather(*answers, return_exceptions=True)

    async def give_up(self, ids: Sequence[str], to: str | None = None) -> frozenset[str]:
        """Take nothing new for these, log what waits, flush, and free the rows.

        With `to`, the rows go to that server instead, if it lives; the ids of those that did are
        returned. A live one is never freed, for nobody would know that there is something to do:
        without `to` it is still held, and one that `to` did not take is not, while its row goes on
        naming this server (`Takeover.look_after`).

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; what was not closed is still held.
        """
        lanes = [lane for id in ids if (lane := self._lanes.get(id)) is not None]
        for lane in lanes:
            lane.retiring = True
        try:
            await self.caught_up(lanes)
            await self._writebehind.flush([lane.id for lane in lanes])
        finally:
            for lane in lanes:
                lane.retiring = False
        live = {lane.id for lane in lanes if self._is_live(lane)}
        going = {
            lane.id: lane.epoch
            for lane in lanes
            if lane.idle and not lane.closed and (to is not None or lane.id not in live)
        }
        # Closed first: of the statement's outcome there may be no word.
        for id in going:
            self._close(self._lanes[id])
        moved: frozenset[str] = frozenset()
        if to is not None and going:
            moved = await self._ownership.hand_over(self._membership.id, going, to)
        free = {id: epoch for id, epoch in going.items() if id not in moved | live}
        if free:
            await self._ownership.release(self._membership.id, free)
        return moved

    async def _release(self, lanes: Sequence[Lane[S, C]]) -> None:
        # What is not flushed stays ours: in a row of a server that died somebody would look for it.
        idle = [
            lane
            for lane in lanes
            if lane.idle and not self._writebehind.owes(lane.id) and not self._awaits(lane)
        ]
        for lane in idle:
            self._close(lane)
        if idle:
            await self._ownership.release(
                self._membership.id, {lane.id: lane.epoch for lane in idle}
            )

    def _is_live(self, lane: Lane[S, C]) -> bool:
        return lane.entry is not None and self._kind.is_live(lane.entry)

    def _awaits(self, lane: Lane[S, C]) -> bool:
        # Of a row that names nobody no server would know that there is something to do.
        return lane.entry is not None and self._kind.awaits(lane.entry.state)

    async def aclose(self) -> None:
        """Cancel acquisitions under way."""
        await self._acquiring.aclose()
