"""Erasing in memory, under the rules of `postgres_eraser`."""

from __future__ import annotations

from typing import Any

from src.state.models import Version
from src.state.protocols import Kind
from src.state.tiers.memory_database import MemoryDatabase


class MemoryEraser:
    """`Eraser` of one kind."""

    def __init__(self, kind: Kind[Any, Any], tombstone: str, database: MemoryDatabase) -> None:
        self._events = database.events[kind.events]
        self._heads = database.heads[kind.heads]
        self._tombstone = tombstone
        self._quarantine = database.quarantine
        self._database = database

    async def erase(self, id: str, tombstone: Version) -> int:
        async with self._database.trip():
            head, events = self._heads.get(id), self._events.get(id, [])
            if head is None or head.seq != tombstone.seq or not events:
                return 0
            last = events[-1]
            if last.version != tombstone or last.type != self._tombstone:
                return 0
            self._events[id] = [last]
            kept = [one for one in self._quarantine if one[0].aggregate_id != id]
            self._quarantine[:] = kept
            return len(events) - 1
