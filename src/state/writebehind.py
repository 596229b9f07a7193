"""The write-behind buffer: what follows from the log is written later, once for many changes.

Due 2 s after the last change, 5 s after the first, or when much has gathered. Nothing here is
needed to keep a promise of durability: the log has every acknowledged event already. What is dirty
is held here and cannot be evicted (I8).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from src.state.errors import DurableTierUnavailable, SharedTierUnavailable, UnfitEvent
from src.state.guards import ALL_ON, Guards
from src.state.models import Entry
from src.state.protocols import Clock, EventLog, Kind, SharedTier, Snapshot
from src.state.settings import StateSettings

S = TypeVar("S")

log = structlog.get_logger(__name__)

_BATCH_S = 0.1
"""What a batch takes until the first one was timed: 64 states of 8 KB on a busy core."""


class Dirty(Generic[S]):
    """One aggregate's unflushed changes."""

    __slots__ = ("bytes", "entry", "events", "first", "last")

    def __init__(self, entry: Entry[S], now: float) -> None:
        self.entry = entry
        self.events = self.bytes = 0
        self.first = self.last = now


class WriteBehind(Generic[S]):
    """Dirty aggregates of one kind, oldest first, and the loop that flushes them."""

    def __init__(
        self,
        kind: Kind[S, Any],
        event_log: EventLog,
        shared: SharedTier,
        settings: StateSettings,
        clock: Clock,
        *,
        snapshot_of: Callable[[Entry[S]], Snapshot],
        log_buffered: Callable[[Sequence[str]], Awaitable[None]],
        guards: Guards = ALL_ON,
    ) -> None:
        self._kind, self._log, self._shared = kind, event_log, shared
        self._clock = clock
        self._snapshot_of = snapshot_of
        self._log_buffered = log_buffered
        self._guards = guards
        self._debounce_s = settings.flush_debounce.total_seconds()
        self._max_wait_s = settings.flush_max_wait.total_seconds()
        self._max_events = settings.flush_max_events
        self._max_bytes = settings.flush_max_bytes
        self._batch = settings.flush_batch
        # Both are in order of their time, since marks come in order: the front is due first.
        self._by_last: dict[str, Dirty[S]] = {}
        self._by_first: dict[str, Dirty[S]] = {}
        self._full: dict[str, None] = {}
        self._flushing: dict[str, Dirty[S]] = {}
        self._buffered: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._batch_s = _BATCH_S
        self.flushes = 0
        self.snapshots = 0

    def __len__(self) -> int:
        return len(self._by_first) + len(self._flushing)

    def oldest_age_s(self) -> float:
        """Return for how long the oldest change has waited; 0 when nothing does."""
        waiting = [
            next(iter(part.values())).first for part in (self._by_first, self._flushing) if part
        ]
        return self._clock.monotonic() - min(waiting) if waiting else 0.0

    def mark(self, entry: Entry[S], events: int, size: int) -> None:
        """Note a logged change of that many events and bytes of events."""
        now, id = self._clock.monotonic(), entry.id
        dirty = self._by_last.pop(id, None)
        if dirty is None:
            dirty = self._by_first[id] = Dirty(entry, now)
            if not self._by_last:
                self._wake.set()
        dirty.entry, dirty.last = entry, now
        dirty.events += events
        dirty.bytes += size
        self._by_last[id] = dirty
        if dirty.events >= self._max_events or dirty.bytes >= self._max_bytes:
            self._full[id] = None
            self._wake.set()

    def mark_buffered(self, id: str) -> None:
        """Note that an aggregate has changes that are not even logged."""
        if id not in self._buffered:
            self._buffered[id] = self._clock.monotonic()
            self._wake.set()

    async def run(self) -> None:
        """Flush what is due until cancelled."""
        while True:
            await self._wait_until_due()
            if not self._guards.flush:
                continue
            await self._log_what_is_buffered(self._clock.monotonic() - self._debounce_s)
            # One batch, then another look: what became due meanwhile may be more urgent.
            due = self._due()[: self._batch]
            if due:
                await self._flush_until_done(due)

    async def flush_all(self) -> None:
        """Flush everything now: at shutdown and at release.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; everything is still dirty.
        """
        await self._log_what_is_buffered(float("inf"))
        await self.flush([*self._flushing, *self._by_first])

    async def flush(self, ids: Sequence[str]) -> None:
        """Flush these now, as far as they are dirty; what becomes dirty meanwhile waits.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; everything is still dirty.
        """
        if self._guards.flush:
            for start in range(0, len(ids), self._batch):
                await self._flush(ids[start : start + self._batch])

    async def _wait_until_due(self) -> None:
        now = self._clock.monotonic()
        times = [next(iter(self._buffered.values())) + self._debounce_s] if self._buffered else []
        if self._by_first:
            times.append(next(iter(self._by_first.values())).first + self._longest_s())
            times.append(next(iter(self._by_last.values())).last + self._debounce_s)
        if self._full:
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
        dirty = len(self._by_first)
        ahead = math.ceil(dirty / self._batch) if dirty > self._batch else 0
        return max(self._max_wait_s / 2, self._max_wait_s - ahead * self._batch_s)

    def _due(self) -> list[str]:
        now = self._clock.monotonic()
        due: dict[str, None] = dict.fromkeys(id for id in self._full if id in self._by_first)
        longest_s = self._longest_s()
        for id, dirty in self._by_first.items():
            if dirty.first + longest_s > now:
                break
            due[id] = None
        for id, dirty in self._by_last.items():
            if dirty.last + self._debounce_s > now:
                break
            due[id] = None
        return list(due)

    async def _log_what_is_buffered(self, before: float) -> None:
        ids = [id for id, since in self._buffered.items() if since <= before]
        if ids:
            for id in ids:
                del self._buffered[id]
            await self._log_buffered(ids)

    async def _flush_until_done(self, ids: Sequence[str]) -> None:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(DurableTierUnavailable),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
        ):
            with attempt:
                await self._flush(ids)

    async def _flush(self, ids: Sequence[str]) -> None:
        # One at a time: a takeover and a drain flush everything beside the loop, and a state that
        # changed meanwhile would be in both batches.
        async with self._turn:
            await self._flush_alone(ids)

    async def _flush_alone(self, ids: Sequence[str]) -> None:
        batch = {id: self._by_first.pop(id) for id in ids if id in self._by_first}
        for id in batch:
            del self._by_last[id]
            self._full.pop(id, None)
        if not batch:
            return
        self._flushing.update(batch)
        # Taken before the write: the life of Redis known now is the one these states belong to.
        began = self._clock.monotonic()
        snapshots = [self._snapshot_of(dirty.entry) for dirty in batch.values()]
        try:
            await self._save([dirty.entry for dirty in batch.values()])
        except BaseException:
            self._put_back(batch)
            raise
        # What was lost meanwhile is another server's: a body of ours could be older than its own.
        ours = [snapshot for snapshot in snapshots if self._flushing.pop(snapshot.id, None)]
        self.flushes += 1
        self.snapshots += len(batch)
        try:
            await self._shared.put(self._kind.name, ours)
        except SharedTierUnavailable as error:
            log.warning("l2.flush_failed", error=str(error))
        if len(batch) == self._batch:
            self._batch_s = (3 * self._batch_s + self._clock.monotonic() - began) / 4

    async def _save(self, entries: Sequence[Entry[S]]) -> None:
        """Write to L3; what it can never take is left out, since the log has its events."""
        try:
            await self._log.save(entries)
        except UnfitEvent as error:
            if len(entries) == 1:
                log.error("snapshot.unfit", kind=self._kind.name, id=entries[0].id, why=error.why)
                return
            middle = len(entries) // 2
            await self._save(entries[:middle])
            await self._save(entries[middle:])

    def _put_back(self, batch: dict[str, Dirty[S]]) -> None:
        """Join what could not be written with what came since, at its place in both orders."""
        batch = {id: old for id, old in batch.items() if self._flushing.pop(id, None)}
        for id, old in batch.items():
            new = self._by_first.pop(id, None)
            if new is not None:
                del self._by_last[id]
                old.events += new.events
                old.bytes += new.bytes
                old.entry, old.last = new.entry, new.last
        # A full one is written before its time, so what comes back need not be the oldest.
        waiting = {**self._by_first, **batch}
        self._by_first = dict(sorted(waiting.items(), key=lambda pair: pair[1].first))
        self._by_last = dict(sorted(waiting.items(), key=lambda pair: pair[1].last))

    def forget(self, id: str) -> None:
        """Drop an aggregate that another server owns now: it flushes what the log has."""
        self._by_first.pop(id, None)
        self._by_last.pop(id, None)
        self._full.pop(id, None)
        self._flushing.pop(id, None)
        self._buffered.pop(id, None)
