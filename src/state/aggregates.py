"""The aggregates of one kind on one server: read by anybody, written by their owner.

`submit` is the trip of a write: own the aggregate, queue the command, wait for the log and the
announcement. `read` is the trip of a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec

from src.state.background import background
from src.state.buffers import Buffer
from src.state.errors import (
    Behind,
    DurableTierUnavailable,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
    ReadOnly,
)
from src.state.guards import ALL_ON, Guards
from src.state.ladder.ladder import Ladder
from src.state.models import (
    ZERO,
    Ack,
    Durability,
    Entry,
    Event,
    Read,
    Version,
    Where,
)
from src.state.ownership.holdings import Holdings
from src.state.ownership.lost import LostWrites
from src.state.ownership.membership import Membership
from src.state.ownership.takeover import Takeover
from src.state.protocols import ChangePublisher, Clock, EventLog, Kind, Ownership, SharedTier
from src.state.reads.source import LogSource
from src.state.reads.store import Store
from src.state.settings import StateSettings
from src.state.writes.lane import Lane, Pending
from src.state.writes.log import GroupCommit
from src.state.writes.poison import Poison
from src.state.writes.pressure import Colour, Pressure
from src.state.writes.saver import Saver
from src.state.writes.writebehind import WriteBehind

S = TypeVar("S")
C = TypeVar("C")

_COMMAND_BYTES = 2048
"""What a command and its event hold beside the command's JSON, an empty state included."""
_encoder = msgspec.json.Encoder()
_scratch = bytearray()


class Aggregates(Generic[S, C]):
    """The write path over what this server holds, and the read path over everything."""

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
        ladder: Ladder,
        guards: Guards = ALL_ON,
    ) -> None:
        self.kind = kind
        self.store = store
        self._membership = membership
        self._breaker = ladder.durable
        self._clock = clock
        self._guards = guards
        self._submit_timeout_s = settings.submit_timeout.total_seconds()
        self.pressure = Pressure(settings, clock)
        self.poison = Poison(event_log, kind.name)
        self.commit = GroupCommit(
            kind,
            event_log,
            publisher,
            clock,
            self.pressure,
            self.poison,
            server_id=lambda: membership.id,
            may_act=lambda: self.holdings.may_act(),
            logged=self._logged,
            retake=lambda lane: self.holdings.retake(lane),
            lost=lambda lane: self.holdings.lose(lane),
            breaker=ladder.durable,
            guards=guards,
        )
        self.writebehind = WriteBehind(
            kind,
            Saver(kind, event_log, clock, self.poison),
            shared,
            settings,
            clock,
            self.pressure,
            snapshot_of=store.snapshot_of,
            log_buffered=self._log_buffered,
            guards=guards,
        )
        self.logged: list[Callable[[Entry[S], Sequence[Event]], None]] = []
        """Called on the owner with what was just logged, before it is announced."""
        self.holdings: Holdings[S, C] = Holdings(
            kind,
            ownership,
            membership,
            store,
            source,
            clock,
            self.commit,
            self.writebehind,
            settings.idle_release,
            ladder.durable,
            guards=guards,
        )

        self.lost = LostWrites(kind.name, event_log, clock)
        store.suspected = self.lost.suspect
        self.takeover: Takeover[S, C] = Takeover(kind, ownership, membership, self.holdings, clock)

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        pressure = self.pressure
        return {
            "unwritten_bytes": Buffer(pressure.held, pressure.limits.red_bytes, pressure.refused)
        }

    # -- reading ---------------------------------------------------------------------------------

    async def read(self, id: str, *, at_least: Version | None = None) -> Read[S] | None:
        """Return the state, labelled; None when there is none. Raises what `Store.get` raises."""
        lane = self.holdings.find(id) if self._guards.pinning else None
        if lane is not None and lane.entry is not None and self.holdings.may_act():
            entry = lane.entry
            if entry.version >= lane.shown and (at_least is None or entry.version >= at_least):
                return Read(entry, Where.OWNER)
        try:
            read = await self.store.get(id, at_least=at_least)
        except (Behind, DurableTierUnavailable, Overloaded):
            held = self._held(lane, at_least or ZERO)
            if held is None:
                raise
            return held
        if lane is not None and read is not None:
            lane.shown = max(lane.shown, read.entry.version)
        if read is not None and read.stale_s is not None:
            return self._held(lane, read.entry.version) or read
        return read

    def _held(self, lane: Lane[S, C] | None, at_least: Version) -> Read[S] | None:
        """Return what a lane pins, labelled: L1 may have evicted it, and L2 never had it."""
        if lane is None or lane.entry is None or lane.entry.version < at_least:
            return None
        if lane.entry.id in self.store.erased:
            return None
        return Read(lane.entry, Where.OWNER, self.store.unheard_s())

    # -- writing ---------------------------------------------------------------------------------

    async def submit(
        self,
        id: str,
        command: C,
        *,
        key: str,
        actor: str,
        if_version: Version | None = None,
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
            ReadOnly: PostgreSQL takes no commit now; the command was not taken.
            DurableTierUnavailable: the owner cannot be looked up.
        """
        self._check_answering(id)
        size = _COMMAND_BYTES + _weight(command)
        lane = self.holdings.find(id) or await self._acquire(id, size, create)
        if lane.closed or lane.retiring:
            raise OwnershipLost(id)
        if not self.holdings.may_act():
            raise OwnershipUnknown(id, "this server's beat is too old to act as owner")
        if not self.writebehind.holds(id):
            # The command will make this state dirty.
            size += lane.size
        self.pressure.admit(size)
        lane.used = self._clock.monotonic()
        buffered = durability is Durability.BUFFERED and not self.pressure.pressed
        if buffered and if_version is None and lane.quiet:
            return self._buffer(lane, command, key, actor, size)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Ack[S]] = loop.create_future()
        self.commit.enqueue(lane, Pending(command, key, actor, if_version, answer, size))
        # A caller that gives up or goes away leaves its event where it is; only the answer is lost.
        patience = loop.call_later(self._submit_timeout_s, _give_up, answer, id)
        try:
            ack = await answer
        finally:
            patience.cancel()
        if self.pressure.see() is not Colour.GREEN:
            self.pressure.slowed += 1
            await self.writebehind.written(id, patience.when() - loop.time())
        return ack

    @property
    def log_is_away(self) -> bool:
        """Whether PostgreSQL takes no commits, as far as this server knows."""
        return not self._breaker.closed

    def _check_answering(self, id: str) -> None:
        if self.log_is_away:
            raise ReadOnly(id)

    async def _acquire(self, id: str, size: int, create: bool) -> Lane[S, C]:
        """Become the owner for a command of that size, which counts meanwhile."""
        self.pressure.admit(size)
        self.pressure.held += size
        try:
            return await self.holdings.acquire(id, create=create)
        finally:
            self.pressure.held -= size

    def _buffer(self, lane: Lane[S, C], command: C, key: str, actor: str, size: int) -> Ack[S]:
        known = lane.keys.get(key)
        if known is not None and lane.entry is not None:
            return Ack(known, Durability.BUFFERED, lane.entry, True)
        before, entry = lane.entry, lane.buffer(command, key, actor, self._clock.now())
        if entry is not before:
            self.store.put_owned(entry, lane.size)
            self.writebehind.mark_buffered(lane.id, size)
        return Ack(entry.version, Durability.BUFFERED, entry)

    async def _log_buffered(self, ids: Sequence[str]) -> None:
        """Log what is buffered of these, through the same queue as everything else."""
        lanes = [lane for id in ids if (lane := self.holdings.find(id)) and lane.buffered]
        await self.holdings.caught_up(lanes)
        for id in ids:
            lane = self.holdings.find(id)
            if lane is not None and lane.buffered:
                # Turned away, because our beat was late just then: once more after a while.
                self.writebehind.mark_buffered(id)

    def _logged(
        self, lane: Lane[S, C], entry: Entry[S], events: Sequence[Event], size: int
    ) -> None:
        if lane.closed:
            # Landed although the aggregate is another server's by now: we only know that it exists.
            self.store.invalidate(entry.id, entry.version)
            return
        self.store.put_owned(entry, lane.size)
        self.writebehind.mark(entry, len(events), size, lane.size)
        for callback in self.logged:
            callback(entry, events)

    async def drain(self) -> None:
        """Finish what waits, flush what is dirty, give everything up.

        Raises:
            DurableTierUnavailable: PostgreSQL is away; the log still has everything acknowledged.
        """
        await self._log_buffered(self.holdings.ids())
        await self.commit.drained()
        await self.writebehind.flush_all()
        await self.holdings.release_all()

    async def branched(self) -> None:
        """Hold nothing of the branch that PostgreSQL was on before a failover or a restore.

        What was known of it is compared with the log, and what is gone is told (`lost`).
        """
        held = self.holdings.versions()
        await self.holdings.deposed()
        self.writebehind.forget_all()
        self.lost.suspect([*held, *self.store.branched()])
        # The log may name this server as the owner of what it holds no more.
        self.takeover.look_after(self._membership.id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background tasks of this kind for the length of the block."""
        try:
            async with background(
                self.commit.commit_for_ever(),
                self.commit.announce_for_ever(),
                self.writebehind.run(),
                self.takeover.run(),
                self.lost.run(),
                self.holdings.release_idle_for_ever(),
                self.store.fills.run(),
            ):
                yield
        finally:
            await self.holdings.aclose()
            await self.store.aclose()


def _weight(command: object) -> int:
    """Return a command's bytes as JSON."""
    try:
        _encoder.encode_into(command, _scratch)
    except (TypeError, ValueError):
        # No JSON can be made of it: its event will be refused for that.
        return 0
    return len(_scratch)


def _give_up(answer: asyncio.Future[Any], id: str) -> None:
    if not answer.done():
        answer.set_exception(OutcomeUnknown(id))
