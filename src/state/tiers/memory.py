"""L1: the entries one process keeps, by least recent use, bounded by count and by bytes.

Readers share what is here, since entries are frozen. Nothing here is the only copy of anything:
what is not written yet is held by its lane and by the write-behind buffer (I8).
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

import msgspec
from cachetools import Cache, LRUCache

from src.state.buffers import Buffer
from src.state.guards import Guards
from src.state.models import Entry
from src.state.protocols import Clock

S = TypeVar("S")


class Lease:
    """Until when, on the process's clock, entries that hang on it may be answered.

    One lease stands for "I am the owner" (renewed by beats), one for "I have heard everything"
    (renewed by pulls). Readers compare the clock themselves: a flag set by a timer lies while the
    loop is blocked.
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = float("-inf")


class _Flag(Lease):
    """What stands in for a lease when nobody compares the clock."""

    __slots__ = ("_clock", "_timer", "_up")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._up = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def until(self) -> float:
        return float("inf") if self._up else float("-inf")

    @until.setter
    def until(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = max(0.0, until - self._clock.monotonic())
        self._up = left > 0
        if left not in (0.0, float("inf")):
            self._timer = asyncio.get_running_loop().call_later(left, self._lower)

    def _lower(self) -> None:
        self._up = False


def open_lease(clock: Clock, guards: Guards) -> Lease:
    """Return a lease that has run out, as everything begins."""
    return Lease() if guards.clock else _Flag(clock)


class Slot(msgspec.Struct, Generic[S], gc=False):
    """L1's place for one id; the frozen entry in it is what readers get."""

    entry: Entry[S]
    lease: Lease
    size: int
    behind: bool = False
    """A newer version was heard of: a base for the next load, no answer."""
    checked: float = 0.0
    """When the log was last read for it."""


class MemoryTier(Generic[S]):
    """Slots by id."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._slots: LRUCache[str, Slot[S]] = LRUCache(max_entries)
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self.bytes = 0
        self.evictions = 0
        self.get = self._slots.get
        """`get(id) -> Slot | None`, the bare method: this is the hottest call of the process."""

    def __len__(self) -> int:
        return len(self._slots)

    def buffers(self, kind: str) -> dict[str, Buffer]:
        """Return both bounds."""
        return {
            "l1_entries": Buffer(len(self), self._max_entries, self.evictions, kind),
            "l1_bytes": Buffer(self.bytes, self._max_bytes, self.evictions, kind),
        }

    def put(self, id: str, slot: Slot[S]) -> None:
        """Keep a slot, evicting the least recently used ones beyond the bounds."""
        self.drop(id)
        while self._slots and (
            len(self._slots) >= self._max_entries or self.bytes + slot.size > self._max_bytes
        ):
            _, evicted = self._slots.popitem()
            self.bytes -= evicted.size
            self.evictions += 1
        self._slots[id] = slot
        self.bytes += slot.size

    def drop(self, id: str) -> None:
        """Forget one id, if it is here."""
        slot = self._slots.pop(id, None)
        if slot is not None:
            self.bytes -= slot.size

    def slots(self) -> list[tuple[str, Slot[S]]]:
        """Return all slots without touching their order of use."""
        # `items` would go through the LRU's own look-up and make every slot the newest in turn.
        return [(id, Cache.__getitem__(self._slots, id)) for id in self._slots]
