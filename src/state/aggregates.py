"""The aggregates of one kind on one server: read by anybody, written by their owner.

`submit` is the trip of a write: own the aggregate, queue the command, wait for the log and the
announcement. `read` is the trip of a read. Everything else keeps ownership true.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import structlog

from src.state.errors import (
    DurableTierUnavailable,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
)
from src.state.guards import ALL_ON, Guards
from src.state.lane import Lane, Pending
from src.state.log import GroupCommit
from src.state.membership import Membership
from src.state.models import (
    Ack,
    Announcement,
    Durability,
    Entry,
    Event,
    Held,
    OwnedBy,
    Read,
    Version,
    Where,
)
from src.state.protocols import ChangePublisher, Clock, EventLog, Kind, Ownership, SharedTier
from src.state.settings import StateSettings
from src.state.single_flight import SingleFlight
from src.state.source import Loaded, LogSource
from src.state.store import Store
from src.state.writebehind import WriteBehind

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger(__name__)

_ORPHANS_PER_PASS = 500


class Aggregates(Generic[S, C]):
    """Lanes of what this server owns, and the store for everything."""

    def __init__(
        self,
        kind: Kind[S, C],
        event_log: EventLog,
        ownership: Ownership,
        shared: SharedTier,
        publisher: ChangePublisher,
        membership: Membership,
        store: Store[S],
        source: LogSource[S],
        settings: StateSettings,
        clock: Clock,
        *,
        guards: Guards = ALL_ON,
    ) -> None:
        self.kind = kind
        self.store = store
        self._ownership = ownership
        self._membership = membership
        self._source = source
        self._settings = settings
        self._clock = clock
        self._lanes: dict[str, Lane[S, C]] = {}
        self._acquiring: SingleFlight[Lane[S, C]] = SingleFlight()
        self._orphans: asyncio.Queue[str] = asyncio.Queue()
        self._submit_timeout_s = settings.submit_timeout.total_seconds()
        self.commit = GroupCommit(
            kind,
            event_log,
            publisher,
            clock,
            server_id=lambda: membership.id,
            may_act=self._may_act,
            logged=self._logged,
            lost=self._lost,
            guards=guards,
        )
        self.writebehind = WriteBehind(
            kind,
            event_log,
            shared,
            settings,
            clock,
            snapshot_of=store.snapshot_of,
            log_buffered=self._log_buffered,
            guards=guards,
        )
        self.logged: list[Callable[[Entry[S], Sequence[Event]], None]] = []
        """Called on the owner with what was just logged, before it is announced."""
        self.owned: list[Callable[[Entry[S]], None]] = []
        """Called when this server becomes the owner of something that exists."""
        self.takeovers = 0
        store.listeners.append(self._heard)
        membership.on_death.append(self._orphans.put_nowait)

    # -- reading ---------------------------------------------------------------------------------

    async def read(self, id: str, *, at_least: Version | None = None) -> Read[S] | None:
        """Return the state, labelled; None when there is none. Raises what `Store.get` raises."""
        lane = self._lanes.get(id)
        if lane is not None and lane.entry is not None and self.owns(id):
            entry = lane.entry
            if at_least is None or entry.version >= at_least:
                return Read(entry, Where.OWNER)
        return await self.store.get(id, at_least=at_least)

    def owns(self, id: str) -> bool:
        """Whether this server holds the aggregate and may act as its owner."""
        lane = self._lanes.get(id)
        return lane is not None and not lane.closed and self._may_act()

    def __len__(self) -> int:
        """How many aggregates this server owns."""
        return len(self._lanes)

    # -- writing ---------------------------------------------------------------------------------

    async def submit(
        self,
        id: str,
        command: C,
        *,
        key: str,
        actor: str,
        if_seq: int | None = None,
        durability: Durability = Durability.LOGGED,
        create: bool = False,
    ) -> Ack[S]:
        """Decide and log a command, as the owner; return when it is safe at `durability`, or safer.

        The same `key` again gives the first answer again, on this server or the next owner.

        Raises:
            Refused: the state does not allow it. NotFound: there is no such aggregate.
            NotOwner: another server owns it.
            OwnershipLost: another server took it meanwhile; the key may be sent there.
            OutcomeUnknown: no answer in time; it may still be logged, the key may be repeated.
            Overloaded: too much waits already.
            DurableTierUnavailable: the owner cannot be looked up.
        """
        self._check_load(id)
        lane = self._lanes.get(id)
        if lane is None or lane.closed:
            lane = await self._acquiring.do(id, lambda: self._acquire(id, create=create))
        if not self._may_act():
            raise OwnershipUnknown(id, "this server's beat is too old to act as owner")
        lane.used = self._clock.monotonic()
        if durability is Durability.BUFFERED and if_seq is None and lane.quiet:
            return self._buffer(lane, command, key, actor)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Ack[S]] = loop.create_future()
        self.commit.enqueue(lane, Pending(command, key, actor, if_seq, answer))
        # A caller that gives up or goes away leaves its event where it is; only the answer is lost.
        patience = loop.call_later(self._submit_timeout_s, _give_up, answer, id)
        try:
            return await answer
        finally:
            patience.cancel()

    def _check_load(self, id: str) -> None:
        if not self.commit.answering:
            raise DurableTierUnavailable(f"PostgreSQL is away, so {id} cannot be changed now")
        if self.commit.waiting >= self._settings.max_waiting_commands:
            raise Overloaded(f"{self.commit.waiting} commands wait for the log")
        if len(self.writebehind) >= self._settings.max_dirty:
            raise Overloaded(f"{len(self.writebehind)} {self.kind.name}s wait to be flushed", 2.0)

    def _buffer(self, lane: Lane[S, C], command: C, key: str, actor: str) -> Ack[S]:
        known = lane.keys.get(key)
        if known is not None and lane.entry is not None:
            return Ack(known, Durability.BUFFERED, lane.entry, True)
        entry, _ = lane.buffer(command, key, actor, self._clock.now())
        self.store.put_owned(entry, lane.size)
        self.writebehind.mark_buffered(lane.id)
        return Ack(entry.version, Durability.BUFFERED, entry)

    async def _log_buffered(self, ids: Sequence[str]) -> None:
        """Log what is buffered of these, through the same queue as everything else."""
        answers = []
        for id in ids:
            lane = self._lanes.get(id)
            if lane is not None and lane.buffered and not lane.closed:
                answer: asyncio.Future[Ack[S]] = asyncio.get_running_loop().create_future()
                self.commit.enqueue(lane, Pending(None, "", "", None, answer))
                answers.append(answer)
        await asyncio.gather(*answers, return_exceptions=True)

    def _logged(
        self, lane: Lane[S, C], entry: Entry[S], events: Sequence[Event], size: int
    ) -> None:
        if lane.closed:
            # Landed although the aggregate is another server's by now: we only know that it exists.
            self.store.invalidate(entry.id, entry.version)
            return
        self.store.put_owned(entry, lane.size)
        self.writebehind.mark(entry, len(events), size)
        for callback in self.logged:
            callback(entry, events)

    # -- ownership -------------------------------------------------------------------------------

    def _may_act(self) -> bool:
        return self._clock.monotonic() < self._membership.lease.until

    async def _acquire(self, id: str, *, create: bool) -> Lane[S, C]:
        """Fence first, read second: after the acquire nobody else can add to the log."""
        lane = self._lanes.get(id)
        if lane is not None and not lane.closed:
            return lane
        me = self._membership.id
        held = await self._ownership.acquire(me, id, create=create)
        if held is None:
            raise NotFound(self.kind.name, id)
        if isinstance(held, OwnedBy):
            raise NotOwner(id, held.server_id)
        loaded = await self._source.load_with_tail(id)
        seq = 0 if loaded.entry is None else loaded.entry.version.seq
        if seq != held.seq or me != self._membership.id:
            raise OwnershipLost(id)
        return self._open_lane(id, held, loaded)

    def _open_lane(self, id: str, held: Held, loaded: Loaded[S]) -> Lane[S, C]:
        entry = loaded.entry
        lane: Lane[S, C] = Lane(self.kind, id, held.epoch, entry, self._clock.monotonic())
        lane.at = loaded.last_at
        self._lanes[id] = lane
        if entry is not None:
            self.store.put_owned(entry, lane.size)
            self.commit.announce(Announcement(self.kind.name, id, entry.version))
            if loaded.unsnapshotted:
                self.writebehind.mark(entry, loaded.unsnapshotted, 0)
            for callback in self.owned:
                callback(entry)
        return lane

    def _lost(self, lane: Lane[S, C]) -> None:
        """Another server owns it: drop what we hold, it flushes what the log has."""
        log.warning("ownership.lost", kind=self.kind.name, id=lane.id, epoch=lane.epoch)
        lane.closed = True
        if self._lanes.get(lane.id) is lane:
            del self._lanes[lane.id]
        self.writebehind.forget(lane.id)
        self.store.disown(lane.id)

    def _heard(self, id: str, version: Version) -> None:
        lane = self._lanes.get(id)
        if lane is not None and version.epoch > lane.epoch:
            self._lost(lane)

    async def deposed(self) -> None:
        """Drop everything: this process was declared dead and others may own it all by now."""
        for lane in list(self._lanes.values()):
            self._lost(lane)

    async def take_over_for_ever(self) -> None:
        """Take what dead servers left with unflushed events, until cancelled."""
        while True:
            dead = await self._orphans.get()
            try:
                await self._take_over(dead)
            except DurableTierUnavailable as error:
                log.warning("takeover.unanswered", server=dead, error=str(error))
                self._orphans.put_nowait(dead)
                await self._clock.sleep(1.0)

    async def _take_over(self, dead: str) -> None:
        while True:
            ids = await self._ownership.orphans(dead, _ORPHANS_PER_PASS)
            if not ids:
                return
            for id in ids:
                await self._take_over_one(id)
            await self.writebehind.flush_all()

    async def _take_over_one(self, id: str) -> None:
        try:
            await self._acquiring.do(id, lambda: self._acquire(id, create=False))
            self.takeovers += 1
        except (NotOwner, NotFound, OwnershipLost):
            # Another survivor was faster, which is as good.
            return

    async def release_idle_for_ever(self) -> None:
        """Give up what nobody used for a while, until cancelled."""
        idle_s = self._settings.idle_release.total_seconds()
        while True:
            await self._clock.sleep(idle_s / 4)
            before = self._clock.monotonic() - idle_s
            idle = [lane for lane in self._lanes.values() if lane.used < before and lane.idle]
            try:
                await self._release(idle)
            except DurableTierUnavailable as error:
                log.warning("release.unanswered", error=str(error))

    async def _release(self, lanes: Sequence[Lane[S, C]]) -> None:
        lanes = [lane for lane in lanes if lane.idle]
        for lane in lanes:
            lane.closed = True
            self._lanes.pop(lane.id, None)
            self.store.disown(lane.id)
        if lanes:
            held = {lane.id: lane.epoch for lane in lanes}
            await self._ownership.release(self._membership.id, held)

    async def drain(self) -> None:
        """Finish what waits, flush what is dirty, give everything up.

        Raises:
            DurableTierUnavailable: PostgreSQL is away; the log still has everything acknowledged.
        """
        await self._log_buffered(list(self._lanes))
        await self.commit.drained()
        await self.writebehind.flush_all()
        await self._release(list(self._lanes.values()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background tasks of this kind for the length of the block."""
        async with asyncio.TaskGroup() as tasks:
            work = {
                "commit": self.commit.commit_for_ever(),
                "announce": self.commit.announce_for_ever(),
                "flush": self.writebehind.run(),
                "take_over": self.take_over_for_ever(),
                "release_idle": self.release_idle_for_ever(),
                "fill": self.store.fills.run(),
            }
            started = [
                tasks.create_task(coroutine, name=f"{self.kind.name}.{name}")
                for name, coroutine in work.items()
            ]
            try:
                yield
            finally:
                for task in started:
                    task.cancel()
                await self._acquiring.aclose()
                await self.store.aclose()


def _give_up(answer: asyncio.Future[Any], id: str) -> None:
    if not answer.done():
        answer.set_exception(OutcomeUnknown(id))
