"""Group commit: all who wait share one statement; the ack comes after the log and the announcement.

Two stages run side by side. `commit_for_ever` decides the queues of all lanes with work and sends
one append; `announce_for_ever` announces what the log took and answers the callers. One batch is
in flight at a time, so nothing is ever decided on another batch's tentative state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import structlog

from src.state.errors import (
    DuplicateEvent,
    EventRefused,
    OwnershipLost,
    OwnershipUnknown,
    ReadOnly,
    StateError,
    TierUnavailable,
    UnfitEvent,
)
from src.state.guards import ALL_ON, Guards
from src.state.ladder.breaker import Breaker
from src.state.ladder.retrying import insist
from src.state.models import Announcement, Entry, Event
from src.state.protocols import ChangePublisher, Clock, EventLog, Kind
from src.state.writes.lane import Decided, Lane, Pending
from src.state.writes.poison import Poison
from src.state.writes.pressure import Pressure
from src.state.writes.repeats import Repeats

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger(__name__)

_MAX_EVENTS = 1000
_MAX_BYTES = 4 << 20


class GroupCommit(Generic[S, C]):
    """The write path of one kind on one server."""

    def __init__(
        self,
        kind: Kind[S, C],
        event_log: EventLog,
        publisher: ChangePublisher,
        clock: Clock,
        pressure: Pressure,
        poison: Poison,
        *,
        server_id: Callable[[], str],
        may_act: Callable[[], bool],
        logged: Callable[[Lane[S, C], Entry[S], Sequence[Event], int], None],
        retake: Callable[[Lane[S, C]], Awaitable[bool]],
        lost: Callable[[Lane[S, C]], None],
        breaker: Breaker,
        guards: Guards = ALL_ON,
    ) -> None:
        self._kind = kind
        self._log = event_log
        self._repeats = Repeats(event_log)
        self._publisher = publisher
        self._clock = clock
        self._pressure = pressure
        self._poison = poison
        self._server_id = server_id
        self._may_act = may_act
        self._logged = logged
        self._retake = retake
        self._lost = lost
        self._guards = guards
        self._breaker = breaker
        breaker.on_change.append(self._refuse_unsent)
        self._ready: dict[str, Lane[S, C]] = {}
        self._wake = asyncio.Event()
        self._settled: list[tuple[Decided[S, C], Entry[S] | None]] = []
        self._unsaid: list[Announcement] = []
        self._announce = asyncio.Event()
        self._busy = 0
        self._quiet = asyncio.Event()
        self.waiting = 0
        """Commands taken and not answered yet."""
        self.batches = 0
        self.events = 0

    def enqueue(self, lane: Lane[S, C], pending: Pending[S, C]) -> None:
        """Queue a command of an owned aggregate; its future gets the answer."""
        lane.queue.append(pending)
        self.waiting += 1
        self._pressure.held += pending.size
        self._ready[lane.id] = lane
        self._wake.set()

    def turn_away(self, lane: Lane[S, C]) -> None:
        """Answer what waits in the queue of a lane that may not write now, or never again."""
        if self._ready.get(lane.id) is lane:
            del self._ready[lane.id]
        error: StateError = OwnershipUnknown(lane.id, "this server's beat is too old")
        if lane.closed or not self._breaker.closed:
            error = OwnershipLost(lane.id) if lane.closed else ReadOnly(lane.id)
        while lane.queue:
            self._fail(lane.queue.popleft(), error)

    def _refuse_unsent(self) -> None:
        """Nobody waits for a log that is away. What was sent is of unknown outcome and goes on."""
        if not self._breaker.closed:
            for lane in list(self._ready.values()):
                self.turn_away(lane)

    def announce(self, change: Announcement) -> None:
        """Announce a version ahead of every answer still to come.

        A new owner does this: its predecessor may have logged the version and died before it told
        anybody, and a repeated key is about to be acknowledged with it.
        """
        self._unsaid.append(change)
        self._announce.set()

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        while self.waiting or self._busy:
            self._quiet.clear()
            await self._quiet.wait()

    # -- stage one: decide and append ------------------------------------------------------------

    async def commit_for_ever(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                self._busy += 1
                try:
                    await self._commit(self._form())
                finally:
                    self._busy -= 1
                    self._quiet.set()

    def _form(self) -> list[Decided[S, C]]:
        """Decide queues until the batch is full; what is left makes the next one."""
        batch: list[Decided[S, C]] = []
        events, size, now = 0, 0, self._clock.now()
        while self._ready and events < _MAX_EVENTS and size < _MAX_BYTES:
            lane = self._ready.pop(next(iter(self._ready)))
            if lane.closed or not self._may_act():
                self.turn_away(lane)
                continue
            decided = lane.decide(now)
            batch.append(decided)
            events += len(decided.events)
            size += decided.size
            if lane.queue:
                self._ready[lane.id] = lane
                break
        return batch

    async def _commit(self, batch: list[Decided[S, C]]) -> None:
        """Send until the log has answered for every claim, then hand on to the announcements."""
        if any(decided.events for decided in batch):
            self.batches += 1
        try:
            await self._send(batch)
        except TierUnavailable as error:
            if not self._guards.resend:
                for decided in batch:
                    self._fail_all(decided, error)
                return
            await insist(lambda: self._send(batch), "log.unanswered")

    async def _send(self, batch: list[Decided[S, C]]) -> None:
        """One try. Leaves `batch` with only those aggregates that still have no answer."""
        while batch:
            silent = [decided for decided in batch if not decided.events]
            if silent:
                await self._settle(silent)
                batch[:] = [decided for decided in batch if decided.events]
                continue
            try:
                with self._breaker.probe("append"):
                    taken = await self._log.append(self._server_id(), [d.claim for d in batch])
            except DuplicateEvent:
                await self._sort_out_repeats(batch)
                continue
            except UnfitEvent as error:
                await self._isolate(batch, error)
                continue
            missed = [d for d in batch if d.claim.aggregate_id not in taken]
            landed = set(taken)
            if missed and self._guards.lookup:
                landed |= await self._repeats.landed([d.claim for d in missed])
            await self._settle([d for d in batch if d.claim.aggregate_id in landed])
            batch[:] = [d for d in batch if d.claim.aggregate_id not in landed]
            await self._retake_or_lose(batch)

    async def _retake_or_lose(self, batch: list[Decided[S, C]]) -> None:
        """Decide again, at their new epoch, those whose state is still the newest."""
        for decided in list(batch):
            lane = decided.lane
            retaken = await self._retake(lane)
            batch.remove(decided)
            if retaken:
                lane.reopen(decided)
                batch.append(lane.decide(self._clock.now()))
            else:
                self._lose(decided)

    async def _sort_out_repeats(self, batch: list[Decided[S, C]]) -> None:
        """Answer the keys that are in the log; decide their aggregates again without them."""
        repeated = await self._repeats.results(
            [(d.lane.id, p.key) for d in batch for p in d.pendings if p.command is not None]
        )
        buffered = await self._log.find(
            [(d.lane.id, event.event_id) for d in batch for _, event in d.lane.buffered]
        )
        if not repeated and not buffered:
            # The other unique constraint: somebody wrote our sequence number. Never rebase.
            for decided in batch:
                self._lose(decided)
            batch.clear()
            return
        for decided in list(batch):
            lane = decided.lane
            again = [p for p in decided.pendings if (lane.id, p.key) in repeated]
            if not lane.drop_logged(buffered) and not again:
                continue
            batch.remove(decided)
            # Decided again, the repeats have their answers and the rest build on the state.
            for pending in again:
                pending.known = repeated[lane.id, pending.key]
            lane.reopen(decided)
            batch.append(lane.decide(self._clock.now()))

    async def _isolate(self, batch: list[Decided[S, C]], error: UnfitEvent) -> None:
        """Halve until the aggregate at fault stands alone, then its command; only that fails."""
        if len(batch) > 1:
            half = batch[len(batch) // 2 :]
            del batch[len(batch) // 2 :]
            try:
                await self._send(half)
            finally:
                # Without an answer they stay in the batch and are sent again.
                batch.extend(half)
            return
        decided = batch.pop()
        lane = decided.lane
        if decided.pendings and (lane.buffered or len(decided.pendings) > 1):
            # What is buffered goes first and by itself: it was acknowledged already.
            lane.reopen(decided)
            batch.append(lane.decide(self._clock.now(), 0 if lane.buffered else 1))
            return
        await self._poison.put_aside(decided.events, error.why)
        self._fail_all(decided, EventRefused(lane.id, error.why))
        if lane.buffered:
            # What was shown of them must go: whoever needs the aggregate next reads the log.
            self._lost(lane)

    def _lose(self, decided: Decided[S, C]) -> None:
        self._fail_all(decided, OwnershipLost(decided.lane.id))
        self._lost(decided.lane)

    async def _settle(self, batch: list[Decided[S, C]]) -> None:
        """Fold what was logged into the lanes and pass it on; look refused keys up first."""
        await self._look_up_refused(batch)
        for decided in batch:
            lane = decided.lane
            self._pressure.held -= sum(pending.size for pending in decided.pendings)
            before, entry = lane.entry, lane.settle(decided)
            if entry is not None and entry is not before:
                self.events += len(decided.events)
                self._logged(lane, entry, decided.events, decided.size)
            if lane.queue:
                self._ready[lane.id] = lane
            self._settled.append((decided, entry))
        self._announce.set()

    async def _look_up_refused(self, batch: list[Decided[S, C]]) -> None:
        """A repeat of a command that was taken once is not refused: it gets its first answer."""
        refused = [
            ((decided.lane.id, pending.key), pending)
            for decided in batch
            for pending in decided.pendings
            if pending.refusal is not None
        ]
        if not refused or not self._guards.lookup:
            return
        results = await self._repeats.results([name for name, _ in refused])
        for name, pending in refused:
            if name in results:
                pending.version, pending.repeated, pending.refusal = results[name], True, None

    # -- stage two: announce and answer ----------------------------------------------------------

    async def announce_for_ever(self) -> None:
        """Announce and answer until cancelled."""
        while True:
            await self._announce.wait()
            self._announce.clear()
            settled, self._settled = self._settled, []
            changes, self._unsaid = self._unsaid, []
            changes += [
                Announcement(self._kind.name, decided.lane.id, decided.version)
                for decided, _ in settled
                if decided.events
            ]
            if not self._guards.ack:
                self._answer(settled)
                settled = []
            if changes and self._guards.announce:
                await insist(partial(self._publisher.publish, changes), "announce.unanswered")
            self._answer(settled)
            self._quiet.set()

    def _answer(self, settled: Sequence[tuple[Decided[S, C], Entry[S] | None]]) -> None:
        for decided, entry in settled:
            for pending in decided.pendings:
                self.waiting -= 1
                if pending.answer.done():
                    continue
                if pending.refusal is not None:
                    pending.answer.set_exception(pending.refusal)
                elif entry is None:
                    pending.answer.set_exception(OwnershipLost(decided.lane.id))
                else:
                    pending.answer.set_result(decided.lane.ack(pending, entry))

    def _fail_all(self, decided: Decided[S, C], error: StateError) -> None:
        decided.lane.in_flight = False
        if decided.lane.queue:
            self._ready[decided.lane.id] = decided.lane
        for pending in decided.pendings:
            self._fail(pending, error)

    def _fail(self, pending: Pending[S, C], error: StateError) -> None:
        self.waiting -= 1
        self._quiet.set()
        self._pressure.held -= pending.size
        if not pending.answer.done():
            pending.answer.set_exception(error)
            # The caller may have gone away; its error is then nobody's.
            pending.answer.exception()
