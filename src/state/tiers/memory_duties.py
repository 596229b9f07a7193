"""Who does what for all, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.state.protocols import Trip
from src.state.tiers.memory_database import Head, MemoryDatabase


class MemoryDuties:
    """`Duties`."""

    def __init__(self, database: MemoryDatabase, *, trip: Trip | None = None) -> None:
        self._database = database
        self._trip = trip or database.trip

    async def hold(self, server_id: str, names: Sequence[str]) -> Mapping[str, int]:
        async with self._trip():
            heads = self._database.heads["duties"]
            lowest = self._database.timeline << 32
            for name in names:
                head = heads.get(name)
                if head is None:
                    heads[name] = Head(server_id, lowest)
                elif head.owner_id != server_id and not self._database.lives(head.owner_id):
                    head.owner_id, head.epoch = server_id, max(head.epoch + 1, lowest)
            return {name: heads[name].epoch for name in names if heads[name].owner_id == server_id}
