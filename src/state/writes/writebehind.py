"""The write-behind buffer: what follows from the log is written later, once for many changes.

Due 2 s after the last change, 5 s after the first, when much has gathered, or under pressure.
The log has every acknowledged event already. What is dirty is held here and cannot be evicted (I8).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import structlog

from src.state.errors import SharedTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.ladder.retrying import until_answered
from src.state.models import Entry
from src.state.protocols import Clock, Kind, SharedTier, Snapshot
from src.state.settings import StateSettings
from src.state.writes.dirty import Dirty
from src.state.writes.pace import Pace
from src.state.writes.pressure import Colour, Pressure
from src.state.writes.saver import Saver

S = TypeVar("S")

log = structlog.get_logger(__name__)

_NEVER = float("inf")
_NEARLY = 1 / 8
"""What is due within this part of the debounce is written with what is due now."""
_ENTRY_BYTES = 1024
"""What a dirty aggregate holds beside its state."""


class WriteBehind(Generic[S]):
    """Dirty aggregates of one kind, oldest first, and the loop that flushes them."""

    def __init__(
        self,
        kind: Kind[S, Any],
        saver: Saver[S],
        shared: SharedTier,
        settings: StateSettings,
        clock: Clock,
        pressure: Pressure,
        *,
        snapshot_of: Callable[[Entry[S]], Snapshot],
        log_buffered: Callable[[Sequence[str]], Awaitable[None]],
        guards: Guards = ALL_ON,
    ) -> None:
        self._kind, self._shared = kind, shared
        self._saver = saver
        self._clock = clock
        self._pressure = pressure
        self._snapshot_of = snapshot_of
        self._log_buffered = log_buffered
        self._guards = guards
        self._debounce_s = settings.flush_debounce.total_seconds()
        self._max_wait_s = settings.flush_max_wait.total_seconds()
        self._max_events = settings.flush_max_events
        self._max_bytes = settings.flush_max_bytes
        self._batch = settings.flush_batch
        # Both are in order of their time, since marks come in order: the front is due first.
        # Ordered dicts find their front at once, also after thousands were taken from it.
        self._by_last: OrderedDict[str, Dirty[S]] = OrderedDict()
        self._by_first: OrderedDict[str, Dirty[S]] = OrderedDict()
        self._full: dict[str, None] = {}
        self._flushing: dict[str, Dirty[S]] = {}
        self._stuck: dict[str, Dirty[S]] = {}
        """Those of them that were put behind the others."""
        self._buffered: dict[str, float] = {}
        self._unlogged: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._flushing_since = _NEVER
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._pace = Pace(settings.flush_batch)
        self.flushes = 0
        self.snapshots = 0

    def __len__(self) -> int:
        return len(self._by_first) + len(self._flushing)

    def oldest_age_s(self) -> float:
        """Return for how long the oldest change has waited; 0 when nothing does."""
        stuck = (dirty.since for dirty in self._stuck.values())
        return max(0.0, self._clock.monotonic() - min(self._oldest(), *stuck, _NEVER))

    def _oldest(self) -> float:
        since = self._flushing_since
        if self._by_first:
            since = min(since, next(iter(self._by_first.values())).first)
        if self._unlogged:
            since = min(since, next(iter(self._unlogged.values()))[0])
        return since

    def _note_oldest(self) -> None:
        if self._guards.flush:
            self._pressure.due_by = self._oldest() + self._max_wait_s

    def holds(self, id: str) -> bool:
        """Whether an aggregate's newest state is dirty or buffered, and counted."""
        return id in self._by_first or id in self._unlogged

    def owes(self, id: str) -> bool:
        """Whether anything of an aggregate is still to be written."""
        return self.holds(id) or id in self._flushing

    def mark(self, entry: Entry[S], events: int, size: int, held: int) -> None:
        """Note a logged change of that many events and bytes of events; the state has `held`."""
        now, id = self._clock.monotonic(), entry.id
        dirty = self._by_last.pop(id, None)
        if dirty is None:
            dirty = self._by_first[id] = Dirty(entry, now)
            if not self._by_last or self._pressure.pressed:
                self._wake.set()
        dirty.entry, dirty.last = entry, now
        dirty.events += events
        dirty.bytes += size
        self._pressure.held += held + _ENTRY_BYTES - dirty.held
        dirty.held = held + _ENTRY_BYTES
        self._by_last[id] = dirty
        self._drop_unlogged(id)
        self._note_oldest()
        if dirty.events >= self._max_events or dirty.bytes >= self._max_bytes:
            self._full[id] = None
            self._wake.set()

    def mark_buffered(self, id: str, held: int = 0) -> None:
        """Note that an aggregate has a change that is not even logged and holds so many bytes."""
        now = self._clock.monotonic()
        since, before = self._unlogged.get(id, (now, 0))
        self._unlogged[id] = since, before + held
        self._pressure.held += held
        self._note_oldest()
        if id not in self._buffered:
            self._buffered[id] = now
            self._wake.set()

    def _drop_unlogged(self, id: str) -> None:
        _, size = self._unlogged.pop(id, (0.0, 0))
        self._pressure.held -= size

    async def written(self, id: str, within_s: float) -> None:
        """Return when what is dirty of an aggregate now is flushed, or when that time is over."""
        dirty = self._by_first.get(id) or self._flushing.get(id)
        if dirty is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        dirty.waiters.append(waiter)
        self._wake.set()
        await asyncio.wait((waiter,), timeout=max(0.0, within_s))

    async def run(self) -> None:
        """Flush what is due until cancelled."""
        while True:
            await self._wait_until_due()
            if not self._guards.flush:
                continue
            await self._log_what_is_buffered(self._clock.monotonic() - self._debounce_s)
            # One batch, then another look: what became due meanwhile may be more urgent. A batch
            # that failed is chosen anew as well, since it may have been too large.
            async for attempt in until_answered("flush.unanswered"):
                with attempt:
                    await self._flush(self._due())

    async def flush_all(self) -> None:
        """Flush everything now: at shutdown and at release.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; everything is still dirty.
        """
        await self._log_what_is_buffered(_NEVER)
        await self.flush([*self._flushing, *self._by_first])

    async def flush(self, ids: Sequence[str]) -> None:
        """Flush these now, as far as they are dirty; what becomes dirty meanwhile waits.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; everything is still dirty.
        """
        left = dict.fromkeys(ids) if self._guards.flush else {}
        while left:
            for id in await self._flush(left) or list(left):
                del left[id]

    async def _wait_until_due(self) -> None:
        now = self._clock.monotonic()
        times = [next(iter(self._buffered.values())) + self._debounce_s] if self._buffered else []
        if self._by_first:
            times.append(next(iter(self._by_first.values())).first + self._longest_s())
            times.append(next(iter(self._by_last.values())).last + self._debounce_s)
        if self._full or (self._by_first and self._pressure.see() is not Colour.GREEN):
            times.append(now)
        self._wake.clear()
        delay = max(0.001, min(times) - now) if times else None
        try:
            # Not `wait_for`: Python 3.11's swallows a cancel that comes together with the wake-up.
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            return

    def _longest_s(self) -> float:
        """After which wait to begin, so that the last of many batches is written in time too."""
        ahead_s = self._pace.ahead_s(len(self._by_first))
        return max(self._max_wait_s / 2, self._max_wait_s - ahead_s)

    def _due(self) -> Iterator[str]:
        """Give what is to be flushed now, the most urgent first; some of it twice."""
        now, pressed = self._clock.monotonic(), self._pressure.pressed
        longest_s = self._longest_s()
        yield from self._full
        for id, dirty in self._by_first.items():
            if not pressed and dirty.first + longest_s > now:
                break
            yield id
        for id, dirty in self._by_last.items():
            if dirty.last + self._debounce_s * (1 - _NEARLY) > now:
                break
            yield id

    def _chunk(self, ids: Iterable[str]) -> list[str]:
        """Take from the front what one transaction may hold."""
        chunk: dict[str, None] = {}
        size = 0
        for id in ids:
            dirty = self._by_first.get(id)
            if dirty is None or id in chunk:
                continue
            size += dirty.held
            if not self._pace.has_room(len(chunk) + 1, size):
                break
            chunk[id] = None
        return list(chunk)

    async def _log_what_is_buffered(self, before: float) -> None:
        ids = [id for id, since in self._buffered.items() if since <= before]
        if ids:
            for id in ids:
                del self._buffered[id]
            await self._log_buffered(ids)

    async def _flush(self, ids: Iterable[str]) -> Sequence[str]:
        """Flush as many of these as one transaction may hold; return which they were."""
        # One at a time: a takeover and a drain flush everything beside the loop, and a state that
        # changed meanwhile would be in both batches.
        async with self._turn:
            chunk = self._chunk(ids)
            if chunk:
                await self._flush_alone(chunk)
            return chunk

    async def _flush_alone(self, ids: Sequence[str]) -> None:
        batch = {id: self._by_first.pop(id) for id in ids}
        for id in batch:
            del self._by_last[id]
            self._full.pop(id, None)
        self._flushing.update(batch)
        self._flushing_since = min(dirty.first for dirty in batch.values())
        began, held = self._clock.monotonic(), sum(dirty.held for dirty in batch.values())
        # Taken before the write: the life of Redis known now is the one these states belong to.
        snapshots = list(filter(None, (self._snapshot(dirty.entry) for dirty in batch.values())))
        try:
            await self._saver.save([dirty.entry for dirty in batch.values()])
        except BaseException:
            self._put_back(batch)
            self._pace.failed(len(batch))
            raise
        # What was lost meanwhile is another server's: a body of ours could be older than its own.
        done = {id for id in batch if self._let_go(id)}
        ours = [snapshot for snapshot in snapshots if snapshot.id in done]
        self._flushing_since = _NEVER
        self.flushes += 1
        self.snapshots += len(batch)
        self._note_oldest()
        took_s = self._clock.monotonic() - began
        self._pressure.flushed(held, took_s)
        self._pace.went_well(len(batch), took_s, pressed=self._pressure.see() is not Colour.GREEN)
        try:
            for start in range(0, len(ours), self._batch):
                await self._shared.put(self._kind.name, ours[start : start + self._batch])
        except SharedTierUnavailable as error:
            log.warning("l2.flush_failed", error=str(error))

    def _let_go(self, id: str) -> bool:
        """Have done with one that was being flushed; False when it was forgotten meanwhile."""
        dirty = self._flushing.pop(id, None)
        if dirty is not None:
            self._release(dirty)
        return dirty is not None

    def _release(self, dirty: Dirty[S]) -> None:
        self._pressure.held -= dirty.held
        self._stuck.pop(dirty.entry.id, None)
        for waiter in dirty.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _snapshot(self, entry: Entry[S]) -> Snapshot | None:
        """Return a state's bytes for L2; None if none can be made of it, which L3 will find too."""
        try:
            return self._snapshot_of(entry)
        except Exception:
            log.exception("snapshot.unfit", kind=self._kind.name, id=entry.id)
            return None

    def _put_back(self, batch: dict[str, Dirty[S]]) -> None:
        """Join what could not be written with what came since, at its place in both orders."""
        batch = {id: old for id, old in batch.items() if self._flushing.pop(id, None)}
        self._flushing_since = _NEVER
        if len(batch) == 1:
            self._put_behind(*batch.values())
        for id, old in batch.items():
            new = self._by_first.pop(id, None)
            if new is not None:
                del self._by_last[id]
                self._pressure.held -= old.held
                old.join(new)
        # A full one is written before its time, so what comes back need not be the oldest.
        waiting = {**self._by_first, **batch}
        self._by_first = OrderedDict(sorted(waiting.items(), key=lambda pair: pair[1].first))
        self._by_last = OrderedDict(sorted(waiting.items(), key=lambda pair: pair[1].last))
        self._note_oldest()

    def _put_behind(self, alone: Dirty[S]) -> None:
        """After its second failure alone it may be this row: then the others go before it."""
        alone.failures += 1
        if alone.failures > 1:
            alone.first = alone.last = self._clock.monotonic()
            self._stuck[alone.entry.id] = alone

    def forget_all(self) -> None:
        """Drop everything: it was folded on a branch of the log that may not have survived."""
        for id in [*self._by_first, *self._flushing, *self._buffered, *self._unlogged]:
            self.forget(id)

    def forget(self, id: str) -> None:
        """Drop an aggregate that another server owns now: it flushes what the log has."""
        for part in (self._by_first, self._flushing):
            dirty = part.pop(id, None)
            if dirty is not None:
                self._release(dirty)
        self._by_last.pop(id, None)
        self._full.pop(id, None)
        self._buffered.pop(id, None)
        self._drop_unlogged(id)
        self._note_oldest()
