"""Who owns what, and who is alive, in memory, under the rules of `postgres_ownership`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from src.state.guards import ALL_ON, Guards
from src.state.models import NO_PLACES, Change, Held, OwnedBy, Peer, Places
from src.state.protocols import PULLED, Kind, Pulled, Trip
from src.state.tiers.memory_database import Head, MemoryDatabase, ServerRow

_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""When everything here was committed: nothing decides by it."""


class MemoryOwnership:
    """`Ownership` of one kind."""

    def __init__(
        self,
        kind: Kind[Any, Any],
        database: MemoryDatabase,
        *,
        trip: Trip | None = None,
        guards: Guards = ALL_ON,
    ) -> None:
        self._database = database
        self._heads = database.heads[kind.heads]
        self._snapshots = database.snapshots[kind.snapshots]
        self._guards = guards
        self._models = [(model, database.read_models[model.table]) for model in kind.read_models]
        self._trip = trip or database.trip

    async def acquire(self, server_id: str, id: str, *, create: bool) -> Held | OwnedBy | None:
        async with self._trip():
            return self._acquire(server_id, id, create)

    def _acquire(self, server_id: str, id: str, create: bool) -> Held | OwnedBy | None:
        lowest = self._database.timeline << 32 if self._guards.timeline else 0
        head = self._heads.get(id)
        if head is None:
            if not create:
                return None
            head = self._heads[id] = Head(server_id, lowest)
        elif head.owner_id == server_id or not self._database.lives(head.owner_id):
            head.owner_id, head.epoch = server_id, max(head.epoch + 1, lowest)
        else:
            return OwnedBy(head.owner_id or "", head.epoch, head.seq)
        return Held(head.epoch, head.seq)

    async def release(self, server_id: str, held: Mapping[str, int]) -> None:
        async with self._trip():
            for id, epoch in held.items():
                head = self._heads.get(id)
                if head is not None and head.owner_id == server_id and head.epoch == epoch:
                    head.owner_id = None

    async def hand_over(self, server_id: str, held: Mapping[str, int], to: str) -> frozenset[str]:
        moved = set()
        async with self._trip():
            for id, epoch in held.items():
                head = self._heads.get(id)
                ours = head is not None and (head.owner_id, head.epoch) == (server_id, epoch)
                if head is not None and ours and self._database.lives(to):
                    head.owner_id, head.epoch = to, epoch + 1
                    moved.add(id)
        return frozenset(moved)

    async def orphans(self, server_id: str, after: str, limit: int) -> Sequence[str]:
        async with self._trip():
            ids = sorted(
                id
                for id, head in self._heads.items()
                if head.owner_id == server_id
                and id > after
                and (head.seq > self._snapshotted(id) or self._is_live(id))
            )
        return ids[:limit]

    def _is_live(self, id: str) -> bool:
        return any(id in rows and model.shows_live(rows[id]) for model, rows in self._models)

    def _snapshotted(self, id: str) -> int:
        snapshot = self._snapshots.get(id)
        return 0 if snapshot is None else snapshot.version.seq


class MemoryRegistry:
    """`Registry`."""

    def __init__(
        self,
        database: MemoryDatabase,
        *,
        trip: Trip | None = None,
        guards: Guards = ALL_ON,
    ) -> None:
        self._database = database
        self._guards = guards
        self._servers = database.servers
        self._trip = trip or database.trip

    async def register(self, server_id: str, url: str) -> None:
        async with self._trip():
            self._servers[server_id] = ServerRow(url)

    async def beat(self, server_id: str, places: Places = NO_PLACES) -> bool:
        async with self._trip():
            lives = self._database.lives(server_id)
            if lives:
                self._servers[server_id].beat += 1
                self._servers[server_id].places = places
        return lives

    async def declare_dead(self, server_id: str, beat: int) -> bool:
        async with self._trip():
            if not self._database.lives(server_id):
                return False
            row = self._servers[server_id]
            row.dead = row.beat == beat or not self._guards.beat
            return row.dead

    async def set_announces(self, server_id: str, announces: bool) -> bool:
        async with self._trip():
            row = self._servers.get(server_id)
            if row is not None:
                row.announces = announces
            return row is not None

    async def pull(self, outbox_after: int) -> Pulled:
        async with self._trip():
            committed = self._database.outbox[outbox_after : outbox_after + PULLED]
            changes = tuple(
                Change(position, one.kind, one.id, one.version.seq, _AT)
                for position, one in enumerate(committed, outbox_after + 1)
            )
            peers = tuple(
                Peer(id, row.url, row.beat, row.announces, row.dead, row.places)
                for id, row in self._servers.items()
            )
            timeline = self._database.timeline
        return Pulled(peers, changes, outbox_after + len(changes), timeline, len(changes) == PULLED)

    async def leave(self, server_id: str) -> None:
        async with self._trip():
            if server_id in self._servers:
                self._servers[server_id].dead = True
