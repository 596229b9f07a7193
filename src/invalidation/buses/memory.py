"""The bus and the notices in memory, under the rules of `redis` with its script and `postgres`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from src.invalidation.messages import Message, decode_message, encode_changes
from src.invalidation.protocols import Position
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement
from src.state.protocols import Clock, Trip
from src.state.settings import StateSettings
from src.state.tiers.keys import partition_of
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_space import Delivery, MemorySpace

_KEPT = 10_000


class MemoryBus:
    """`Bus` on one space."""

    def __init__(
        self,
        space: MemorySpace,
        settings: StateSettings,
        clock: Clock,
        *,
        trip: Trip | None = None,
    ) -> None:
        self._space = space
        self._clock = clock
        self._ttl_s = settings.l2_ttl.total_seconds()
        self._trip = trip or space.trip

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        parts: dict[int, list[Announcement]] = defaultdict(list)
        for change in changes:
            parts[partition_of(change.id)].append(change)
        async with self._trip():
            for partition, part in parts.items():
                self._announce(partition, origin, part)

    def _announce(self, partition: int, origin: str, part: Sequence[Announcement]) -> None:
        now = self._clock.monotonic()
        for change in part:
            self._space.raise_head(change.kind, change.id, change.version, now, self._ttl_s)
        counter = self._space.counters[partition]
        counter.n += 1
        message = b"%s %d %s" % (
            counter.incarnation.encode(),
            counter.n,
            encode_changes(origin, tuple(part)),
        )
        counter.kept[counter.n] = message
        counter.kept.pop(counter.n - _KEPT, None)
        self._space.deliver(partition, message)

    async def renew(self) -> None:
        async with self._trip():
            self._space.renew()

    async def positions(self) -> Sequence[Position]:
        async with self._trip():
            run_id = self._space.run_id
            return [
                Position(f"{counter.incarnation}:{run_id}", counter.n)
                for counter in self._space.counters
            ]

    async def replay(self, partition: int, after: int, upto: int) -> Sequence[Message] | None:
        async with self._trip():
            kept = self._space.counters[partition].kept
            rows = [kept.get(n) for n in range(after + 1, upto + 1)]
        messages = [decode_message(partition, row) for row in rows if row is not None]
        return messages if len(messages) == len(rows) else None

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Message]]:
        queue: asyncio.Queue[Delivery | None] = asyncio.Queue()
        async with self._trip():
            self._space.subscriptions[queue] = None
        try:
            yield _messages(queue)
        finally:
            self._space.subscriptions.pop(queue, None)


async def _messages(queue: asyncio.Queue[Delivery | None]) -> AsyncIterator[Message]:
    while (delivery := await queue.get()) is not None:
        partition, data = delivery
        yield decode_message(partition, data)
    raise SharedTierUnavailable("the subscription was cut")


class MemoryNotices:
    """`Notices` through one database."""

    def __init__(self, database: MemoryDatabase, *, trip: Trip | None = None) -> None:
        self._database = database
        self._trip = trip or database.trip

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        message = b"notify 0 " + encode_changes(origin, tuple(changes))
        async with self._trip():
            self._database.notify(message)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Message]]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        async with self._trip():
            self._database.listeners[queue] = None
        try:
            yield _notices(queue)
        finally:
            self._database.listeners.pop(queue, None)


async def _notices(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[Message]:
    while (data := await queue.get()) is not None:
        yield decode_message(-1, data)
