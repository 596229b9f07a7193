"""The read path of one kind: L1, then L2, then L3, each miss filling the tiers above.

Start reading at `Store.peek` (a hit, synchronous) and `Store.get` (everything else).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Generic, TypeVar

import structlog

from src.state.buffers import Buffer
from src.state.errors import Behind, DurableTierUnavailable, Overloaded
from src.state.guards import ALL_ON, Guards
from src.state.models import ZERO, Entry, Read, Version, Where
from src.state.protocols import Clock, SharedTier, Stored
from src.state.reads.erased import Erased
from src.state.reads.fills import Fills
from src.state.reads.missing import Missing
from src.state.reads.shared_copies import SharedCopies
from src.state.reads.single_flight import SingleFlight
from src.state.reads.source import Source
from src.state.reads.turnstile import Turnstile
from src.state.reads.watermarks import Watermarks
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.memory import Lease, MemoryTier, Slot

S = TypeVar("S")

log = structlog.get_logger(__name__)


class Store(Generic[S]):
    """Entries of one kind in three tiers.

    `owned` is renewed by beats and covers what this server owns; `heard` by pulls and covers the
    rest. Which one an entry hangs on is decided by who puts it in. `timeline` gives L3's, 0 while
    it is not known.
    """

    def __init__(
        self,
        kind: Stored[S],
        source: Source[S],
        shared: SharedTier,
        settings: StateSettings,
        clock: Clock,
        *,
        owned: Lease,
        heard: Lease,
        incarnations: Incarnations,
        loads: Turnstile,
        guards: Guards = ALL_ON,
        timeline: Callable[[], int] = lambda: 0,
    ) -> None:
        self.kind = kind
        self._source = source
        self._copies = SharedCopies(kind, shared, incarnations, guards)
        self.snapshot_of = self._copies.snapshot_of
        self._clock = clock
        self._monotonic = clock.monotonic
        self._owned, self._heard = owned, heard
        self._guards = guards
        self._incarnations = incarnations
        self._loads = loads
        self._timeline = timeline
        self._tail_interval_s = settings.tail_interval.total_seconds()
        self._l1: MemoryTier[S] = MemoryTier(settings.l1_entries, settings.l1_bytes)
        self._lookup = self._l1.get
        self._watermarks = Watermarks()
        self._generation = 0
        self._flights: SingleFlight[Read[S] | None] = SingleFlight()
        self._missing = Missing(clock)
        self.erased = Erased()
        self.fills = Fills(kind, shared)
        self.listeners: list[Callable[[str, Version], None]] = []
        """Called with (id, version) when this server hears of a version, its own included."""
        self.suspected: Callable[[Sequence[tuple[str, Version]]], None] = lambda known: None
        """Called with known versions when one of a later timeline of L3 replaces them."""
        self._l1_hits = self._l2_hits = self._l3_loads = 0

    # -- reading ---------------------------------------------------------------------------------

    def peek(self, id: str) -> Entry[S] | None:
        """Return the entry if L1 has it and it is certainly fresh; no waiting, no I/O."""
        slot = self._lookup(id)
        if slot is None or slot.behind or self._monotonic() >= slot.lease.until:
            return None
        self._l1_hits += 1
        return slot.entry

    async def get(self, id: str, *, at_least: Version | None = None) -> Read[S] | None:
        """Return the state with what is known of its freshness; None when there is none.

        Raises:
            Behind: `at_least` is ahead of everything that is logged, and may yet come.
            DurableTierUnavailable: no tier can say; an error is never "not found".
        """
        entry = self.peek(id)
        if entry is not None and (at_least is None or entry.version >= at_least):
            return Read(entry, Where.L1)
        if at_least is None:
            if id in self._missing:
                return None
            entry = self._just_checked(id)
            if entry is not None:
                return Read(entry, Where.L1)
        read = await self._flights.do(id, lambda: self._load(id))
        if at_least is None or (read is not None and read.entry.version >= at_least):
            return read
        # The load may have begun before the version asked for was logged: one probe of our own.
        read = await self._flights.do(f"{id} {at_least.token}", lambda: self._load(id, probe=True))
        if read is None or read.entry.version < at_least:
            if read is not None and read.stale_s is None and self._is_lost(at_least):
                return read
            found = None if read is None else read.entry.version.token
            raise Behind(id, at_least.token, found)
        return read

    def _is_lost(self, unseen: Version) -> bool:
        """Whether a version that a probe did not find is of a branch that is gone: of an earlier
        timeline, on which nothing is logged any more. (Configs have no epoch, so nobody can say.)
        """
        return 0 < unseen.epoch >> 32 < self._timeline()

    def _just_checked(self, id: str) -> Entry[S] | None:
        """Answer a busy conversation from a tail read a moment ago: bounds the reads of L3."""
        slot, now = self._lookup(id), self._monotonic()
        if slot is None or slot.lease is not self._heard or now >= self._heard.until:
            return None
        return slot.entry if now - slot.checked < self._tail_interval_s else None

    async def _load(self, id: str, *, probe: bool = False) -> Read[S] | None:
        if id in self.erased:
            return await self._load_erased(id)
        began, generation = self._monotonic(), self._mark()
        incarnation = self._incarnations.of(id)
        slot = self._lookup(id)
        base, current = (None if slot is None or slot.entry.ahead else slot.entry), False
        if base is None and not probe:
            base, current = await self._from_shared(id)
            # While not everything was heard, a head in Redis may be missing as well.
            heard = began < self._heard.until
            if base is not None and current and heard and base.version >= self._watermarks.of(id):
                self._keep(base, self._heard, generation, began)
                self._l2_hits += 1
                return Read(base, Where.L2)
        try:
            entry = await self._from_source(id, base)
            if self._overtaken(id, entry, generation):
                # Once more, for those who joined this load after the invalidation came.
                began, generation = self._monotonic(), self._mark()
                entry = await self._from_source(id, entry or base)
        except (DurableTierUnavailable, Overloaded):
            stale = await self._newest_copy(id, base, current)
            if stale is None or id in self.erased:
                raise
            return stale
        self._l3_loads += 1
        if entry is None:
            if not self._overtaken(id, None, generation):
                self._missing.add(id)
            return None
        if slot is None:
            self.fills.add(entry, incarnation)
        self._keep(entry, self._heard, generation, began)
        return Read(entry, Where.L3)

    async def _load_erased(self, id: str) -> Read[S] | None:
        """Only the log knows what is left: any copy may be from before, and is no base either."""
        entry = await self._from_source(id, None)
        return None if entry is None else Read(entry, Where.L3)

    async def _from_source(self, id: str, base: Entry[S] | None) -> Entry[S] | None:
        async with self._loads.turn():
            return await self._source.load(id, base)

    async def _newest_copy(self, id: str, seen: Entry[S] | None, current: bool) -> Read[S] | None:
        """Return L1's copy, or L2's if that may be newer; the age of one in doubt is not known."""
        slot = self._lookup(id)
        known = slot is not None and not slot.behind
        if slot is not None and known and slot.entry.version >= self._watermarks.of(id):
            return Read(slot.entry, Where.L1, self.unheard_s())
        if seen is None or slot is not None:
            seen, current = await self._from_shared(id)
            slot = self._lookup(id)
        if slot is not None and (seen is None or seen.version <= slot.entry.version):
            return Read(slot.entry, Where.L1, inf)
        if seen is None:
            return None
        if id not in self.erased and (slot is None or slot.lease is not self._owned):
            # A base for later, no answer: nobody can say now what there is beyond it.
            size = len(seen.body(self.kind.encode_state))
            self._l1.put(id, Slot(seen, self._heard, size, behind=True))
        current = current and seen.version >= self._watermarks.of(id)
        return Read(seen, Where.L2, self.unheard_s() if current else inf)

    async def _from_shared(self, id: str) -> tuple[Entry[S] | None, bool]:
        found = await self._copies.get(id)
        return (None, False) if id in self.erased else found

    def _overtaken(self, id: str, entry: Entry[S] | None, generation: tuple[int, int]) -> bool:
        """Whether what was loaded is older than something heard of meanwhile, or may be."""
        version = ZERO if entry is None else entry.version
        return generation != self._mark() or (
            self._guards.watermark and version < self._watermarks.of(id)
        )

    def _mark(self) -> tuple[int, int]:
        if not self._guards.token:
            return 0, 0
        return self._generation, self._watermarks.generation

    def unheard_s(self) -> float:
        """Return for how long this server has not known that its copies are fresh."""
        return max(0.0, self._monotonic() - self._heard.until)

    # -- filling and invalidating ----------------------------------------------------------------

    def _keep(
        self, entry: Entry[S], lease: Lease, generation: tuple[int, int], checked: float
    ) -> None:
        """Put a loaded entry into L1. One that an invalidation overtook is a base, no answer."""
        slot = self._lookup(entry.id)
        if slot is not None and slot.lease is self._owned:
            # Our own append, committed and not yet answered: who was shown it goes not back.
            slot.behind = slot.behind or entry.version > slot.entry.version
            return
        if entry.id in self.erased or (slot is not None and self._is_newer(slot.entry, entry)):
            return
        behind = self._overtaken(entry.id, entry, generation)
        size = len(entry.body(self.kind.encode_state))
        self._l1.put(entry.id, Slot(entry, lease, size, behind, checked))

    def _is_newer(self, held: Entry[S], loaded: Entry[S]) -> bool:
        return self._guards.newer and held.version > loaded.version

    def put_owned(self, entry: Entry[S], size: int) -> None:
        """Keep what this server, as the owner, has just made; `size` in bytes, about."""
        slot = self._lookup(entry.id)
        if slot is not None and slot.size >= size:
            slot.entry, slot.lease, slot.behind = entry, self._owned, False
        else:
            # Room to grow, so that a busy conversation seldom goes through eviction again.
            self._l1.put(entry.id, Slot(entry, self._owned, size + size // 4))
        self._missing.discard(entry.id)

    def disown(self, id: str) -> None:
        """Treat an entry like any other server's: ownership went away or was given up."""
        slot = self._lookup(id)
        if slot is not None and slot.lease is self._owned:
            if slot.entry.ahead:
                self._l1.drop(id)
            else:
                slot.lease, slot.behind = self._heard, True

    def invalidate(self, id: str, version: Version) -> None:
        """Note that `version` exists: whatever is older is no answer from now on."""
        self._missing.discard(id)
        if self._guards.watermark:
            self._raise(id, version)
            slot = self._lookup(id)
            if slot is not None and slot.entry.version < version:
                slot.behind = True
        for listener in self.listeners:
            listener(id, version)

    def written(self, id: str, version: Version) -> None:
        """Note that this server itself wrote a version: its next read must have it."""
        self._watermarks.raise_to(id, version)
        self._generation += 1
        self._l1.drop(id)
        self._missing.discard(id)
        for listener in self.listeners:
            listener(id, version)

    def erase(self, id: str) -> None:
        """Forget what was erased, and pass over every copy of it from now on."""
        self.erased.add(id)
        self.fills.drop(id)
        # Loads that are under way may have seen what was there.
        self._generation += 1
        self._l1.drop(id)
        self._missing.discard(id)

    def clear(self, concerns: Callable[[str], bool]) -> None:
        """Doubt everything that is not ours and that `concerns` picks: messages were missed."""
        self._generation += 1
        self._missing.clear()
        for id, slot in self._l1.slots():
            if slot.lease is not self._owned and concerns(id):
                slot.behind = True

    def remember(self, id: str, version: Version) -> None:
        """Keep the version that this server gives up with the ownership of an aggregate."""
        if self._guards.watermark:
            self._raise(id, version)

    def _raise(self, id: str, version: Version) -> None:
        replaced = self._watermarks.raise_to(id, version)
        if replaced is not None:
            self.suspected([(id, replaced)])

    def branched(self) -> list[tuple[str, Version]]:
        """Forget every entry and every version: L3 is on another branch of its history.

        What was lost has a higher version than what is left, and would never make room for it.
        Returns the versions that were known.
        """
        known = self._watermarks.all()
        self._watermarks.clear()
        self._generation += 1
        self._missing.clear()
        for id, _ in self._l1.slots():
            self._l1.drop(id)
        return known

    def share(self) -> None:
        """Have L2 filled with what L1 alone may hold: L3 is away, and other servers may ask."""
        for id, slot in self._l1.slots():
            if not (slot.behind or slot.entry.ahead):
                self.fills.add(slot.entry, self._incarnations.of(id))

    def counts(self) -> dict[str, float]:
        """Return what the metrics show of this store."""
        return {
            "l1_hits": self._l1_hits,
            "l2_hits": self._l2_hits,
            "l3_loads": self._l3_loads,
            "l1_entries": len(self._l1),
            "l1_evictions": self._l1.evictions,
        }

    def buffers(self) -> dict[str, Buffer]:
        """Return what of this store is bounded."""
        kind = self.kind.name
        return {
            **self._l1.buffers(kind),
            "watermarks": self._watermarks.buffer(kind),
            "missing": self._missing.buffer(kind),
            "erased": self.erased.buffer(kind),
            "fills": self.fills.buffer(kind),
        }

    async def aclose(self) -> None:
        await self._flights.aclose()
