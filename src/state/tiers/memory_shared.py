"""L2 in memory, under the rules of `redis` and its scripts."""

from __future__ import annotations

from collections.abc import Sequence

from src.state.guards import ALL_ON, Guards
from src.state.protocols import Clock, SharedCopy, Snapshot, Trip
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.memory_space import MemorySpace


class MemoryShared:
    """`SharedTier` on one space."""

    def __init__(
        self,
        space: MemorySpace,
        incarnations: Incarnations,
        settings: StateSettings,
        clock: Clock,
        *,
        trip: Trip | None = None,
        guards: Guards = ALL_ON,
    ) -> None:
        self._space = space
        self._incarnations = incarnations
        self._clock = clock
        self._ttl_s = settings.l2_ttl.total_seconds()
        self._trip = trip or space.trip
        self._guards = guards

    async def get(self, kind: str, id: str) -> SharedCopy | None:
        async with self._trip():
            cell = self._space.cell(kind, id, self._clock.monotonic())
            snapshot = None if cell is None else cell.snapshot
            head = None if cell is None else cell.head
        if snapshot is None:
            return None
        known = self._incarnations.of(id)
        current = snapshot.version == head and known != "" and snapshot.incarnation == known
        return SharedCopy(snapshot, current)

    async def put(self, kind: str, snapshots: Sequence[Snapshot]) -> int:
        async with self._trip():
            return sum(self._put(kind, snapshot) for snapshot in snapshots)

    def _put(self, kind: str, fresh: Snapshot) -> bool:
        now = self._clock.monotonic()
        cell = self._space.cell(kind, fresh.id, now)
        old = None if cell is None else cell.snapshot
        if old is not None and (old.schema > fresh.schema or not self._is_newer(old, fresh)):
            return False
        cell = self._space.raise_head(kind, fresh.id, fresh.version, now, self._ttl_s)
        cell.snapshot = fresh
        return True

    def _is_newer(self, old: Snapshot, fresh: Snapshot) -> bool:
        if not self._guards.newer or old.version < fresh.version:
            return True
        return old.version == fresh.version and old.incarnation != fresh.incarnation

    async def delete(self, kind: str, ids: Sequence[str]) -> None:
        async with self._trip():
            for id in ids:
                cell = self._space.cells.get((kind, id))
                if cell is not None:
                    cell.snapshot = None

    async def rearm(self) -> int | None:
        async with self._trip():
            now = self._clock.monotonic()
            if now < self._space.armed_until:
                return None
            self._space.armed_until = now + self._ttl_s / 4
            held = [cell for cell in self._space.cells.values() if now < cell.expires]
            for cell in held:
                cell.expires = now + self._ttl_s
            return len(held)
