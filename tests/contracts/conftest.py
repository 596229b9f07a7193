"""The two implementations of each seam, each with what a test must do behind its back."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import ConnectionPool, Redis

from src.invalidation.buses.memory import MemoryBus
from src.invalidation.buses.redis import RedisBus
from src.invalidation.protocols import Bus
from src.state.clock import SystemClock
from src.state.guards import ALL_ON, Guards
from src.state.models import Announcement
from src.state.protocols import Duties, Eraser, EventLog, Kind, Ownership, Registry, SharedTier
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.keys import body_key, bus_key, stream_key
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_duties import MemoryDuties
from src.state.tiers.memory_eraser import MemoryEraser
from src.state.tiers.memory_log import MemoryLog
from src.state.tiers.memory_ownership import MemoryOwnership, MemoryRegistry
from src.state.tiers.memory_shared import MemoryShared
from src.state.tiers.memory_space import Counter, MemorySpace
from src.state.tiers.postgres import Line, Pool, open_pool
from src.state.tiers.postgres_duties import PostgresDuties
from src.state.tiers.postgres_eraser import PostgresEraser
from src.state.tiers.postgres_log import PostgresLog
from src.state.tiers.postgres_ownership import PostgresOwnership, PostgresRegistry
from src.state.tiers.redis import RedisTier, open_redis
from tests.support.cluster_settings import NOWHERE, settings
from tests.support.kinds import NOTEBOOKS
from tests.support.services import ADMIN_LIMITS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = (
            item.callspec.params
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else {}
        )
        if given.get("durable") == "postgres" or given.get("shared") == "redis":
            item.add_marker(pytest.mark.servers)


class Durable(ABC):
    """L3: two servers' ways to it, and what stands in it."""

    @abstractmethod
    def log(
        self, kind: Kind[Any, Any] = NOTEBOOKS, guards: Guards = ALL_ON, timeline: int = 0
    ) -> EventLog: ...

    @abstractmethod
    def ownership(self, guards: Guards = ALL_ON) -> Ownership: ...

    @abstractmethod
    def registry(self, guards: Guards = ALL_ON) -> Registry: ...

    @abstractmethod
    def duties(self) -> Duties: ...

    @abstractmethod
    def eraser(self, tombstone: str) -> Eraser: ...

    @abstractmethod
    async def summary(self, id: str) -> tuple[int, str] | None:
        """The read model's row: seq and last line."""

    @abstractmethod
    async def quarantined(self) -> list[tuple[bytes, str]]:
        """Body and cause of what stands there."""

    @abstractmethod
    async def commit_change(self, change: Announcement) -> None:
        """Have a config change in the outbox."""

    @abstractmethod
    async def switch_off(self) -> None: ...


class InMemory(Durable):
    def __init__(self) -> None:
        self.database = MemoryDatabase()

    def log(
        self, kind: Kind[Any, Any] = NOTEBOOKS, guards: Guards = ALL_ON, timeline: int = 0
    ) -> EventLog:
        return MemoryLog(kind, self.database, guards=guards, timeline=lambda: timeline)

    def ownership(self, guards: Guards = ALL_ON) -> Ownership:
        return MemoryOwnership(NOTEBOOKS, self.database, guards=guards)

    def registry(self, guards: Guards = ALL_ON) -> Registry:
        return MemoryRegistry(self.database, guards=guards)

    def duties(self) -> Duties:
        return MemoryDuties(self.database)

    def eraser(self, tombstone: str) -> Eraser:
        return MemoryEraser(NOTEBOOKS, tombstone, self.database)

    async def summary(self, id: str) -> tuple[int, str] | None:
        row = self.database.read_models["conversation_summaries"].get(id)
        return None if row is None else (row[1], row[7])

    async def quarantined(self) -> list[tuple[bytes, str]]:
        return [(event.body, why) for event, why in self.database.quarantine]

    async def commit_change(self, change: Announcement) -> None:
        self.database.outbox.append(change)

    async def switch_off(self) -> None:
        self.database.available = False


class InPostgres(Durable):
    def __init__(self, url: str, admin_url: str, pool: Pool, lines: Sequence[Line]) -> None:
        self._url, self._admin_url = url, admin_url
        self._pool, self._lines = pool, lines

    def log(
        self, kind: Kind[Any, Any] = NOTEBOOKS, guards: Guards = ALL_ON, timeline: int = 0
    ) -> EventLog:
        return PostgresLog(
            kind, self._pool, self._lines[0], guards=guards, timeline=lambda: timeline
        )

    def ownership(self, guards: Guards = ALL_ON) -> Ownership:
        return PostgresOwnership(NOTEBOOKS, self._pool, guards=guards)

    def registry(self, guards: Guards = ALL_ON) -> Registry:
        return PostgresRegistry(self._lines[1], self._lines[2], guards=guards)

    def duties(self) -> Duties:
        return PostgresDuties(self._pool)

    def eraser(self, tombstone: str) -> Eraser:
        return PostgresEraser(NOTEBOOKS, tombstone, settings(self._url))

    async def summary(self, id: str) -> tuple[int, str] | None:
        row = await self._pool.fetchrow(
            "SELECT seq, last_text FROM conversation_summaries WHERE conversation_id = $1", id
        )
        return None if row is None else (row[0], row[1])

    async def quarantined(self) -> list[tuple[bytes, str]]:
        rows = await self._pool.fetch("SELECT body, why FROM quarantine ORDER BY position")
        return [(row["body"], row["why"]) for row in rows]

    async def commit_change(self, change: Announcement) -> None:
        await self._pool.execute(
            "INSERT INTO outbox (kind, id, version) VALUES ($1, $2, $3)",
            change.kind,
            change.id,
            change.version.seq,
        )

    async def switch_off(self) -> None:
        """Let nobody into this one database, and put out who is in."""
        name = urlsplit(self._url).path[1:]
        connection = await asyncpg.connect(self._admin_url, server_settings=ADMIN_LIMITS)
        try:
            await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
        finally:
            await connection.close()


@pytest.fixture(params=["memory", "postgres"])
async def durable(request: pytest.FixtureRequest) -> AsyncIterator[Durable]:
    if request.param == "memory":
        yield InMemory()
        return
    url = request.getfixturevalue("database_url")
    admin_url = request.getfixturevalue("servers").database_url
    given = settings(url)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(given))
        lines = [Line(given) for _ in range(3)]
        for line in lines:
            stack.push_async_callback(line.aclose)
        yield InPostgres(url, admin_url, pool, lines)


class Shared(ABC):
    """L2 and the bus on it."""

    def __init__(self) -> None:
        self.incarnations = Incarnations()
        self._tier = self.made()

    @abstractmethod
    def made(self, guards: Guards = ALL_ON) -> SharedTier: ...

    @property
    def tier(self) -> SharedTier:
        return self._tier

    @property
    @abstractmethod
    def bus(self) -> Bus: ...

    @abstractmethod
    async def left_s(self, id: str) -> float:
        """For how long a notebook's body is still kept."""

    @abstractmethod
    async def age(self, id: str) -> None:
        """Let a notebook's body be nearly forgotten."""

    @abstractmethod
    async def clear(self) -> None:
        """FLUSHALL."""

    @abstractmethod
    async def trim(self, partition: int) -> None:
        """Keep only the newest message of a partition."""

    @abstractmethod
    async def forget_counter(self, partition: int) -> None:
        """Lose what numbers a partition's messages, and nothing else."""

    @abstractmethod
    async def cut(self) -> None:
        """Break the subscriptions."""

    @abstractmethod
    async def switch_off(self) -> None: ...

    async def learn(self) -> None:
        """Do what a pull does: note in which life each partition is."""
        for partition, position in enumerate(await self.bus.positions()):
            self.incarnations.learn(partition, position.incarnation)


class SharedInMemory(Shared):
    def __init__(self) -> None:
        self.space = MemorySpace()
        self._bus = MemoryBus(self.space, settings(), SystemClock())
        super().__init__()

    def made(self, guards: Guards = ALL_ON) -> SharedTier:
        return MemoryShared(self.space, self.incarnations, settings(), SystemClock(), guards=guards)

    @property
    def bus(self) -> Bus:
        return self._bus

    async def left_s(self, id: str) -> float:
        return self.space.cells["notebook", id].expires - SystemClock().monotonic()

    async def age(self, id: str) -> None:
        self.space.cells["notebook", id].expires = SystemClock().monotonic() + 60

    async def clear(self) -> None:
        self.space.clear()

    async def trim(self, partition: int) -> None:
        kept = self.space.counters[partition].kept
        for n in sorted(kept)[:-1]:
            del kept[n]

    async def forget_counter(self, partition: int) -> None:
        self.space.counters[partition] = Counter()

    async def cut(self) -> None:
        self.space.cut_subscriptions()

    async def switch_off(self) -> None:
        self.space.available = False


class SharedInRedis(Shared):
    def __init__(self, client: Redis, pulls: Redis) -> None:
        self._client, self._pulls = client, pulls
        self._bus = RedisBus(client, pulls, settings())
        super().__init__()

    def made(self, guards: Guards = ALL_ON) -> SharedTier:
        return RedisTier(self._client, self.incarnations, settings(), guards=guards)

    @property
    def bus(self) -> Bus:
        return self._bus

    async def left_s(self, id: str) -> float:
        return float(await self._client.pttl(body_key("notebook", id))) / 1000

    async def age(self, id: str) -> None:
        await self._client.pexpire(body_key("notebook", id), 60_000)

    async def clear(self) -> None:
        await self._client.flushdb()

    async def trim(self, partition: int) -> None:
        await self._client.xtrim(stream_key(partition), maxlen=1, approximate=False)

    async def forget_counter(self, partition: int) -> None:
        await self._client.delete(bus_key(partition))

    async def cut(self) -> None:
        await self._client.client_kill_filter(_type="pubsub")

    async def switch_off(self) -> None:
        """Give the clients an address where nothing listens."""
        for client in (self._client, self._pulls):
            await client.connection_pool.disconnect()
            client.connection_pool = ConnectionPool.from_url(f"redis://{NOWHERE}/0")


@pytest.fixture(params=["memory", "redis"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    if request.param == "memory":
        yield SharedInMemory()
        return
    given = settings(redis_url=request.getfixturevalue("redis_url"))
    async with open_redis(given) as client, open_redis(given) as pulls:
        yield SharedInRedis(client, pulls)


@pytest.fixture
async def patience() -> AsyncIterator[None]:
    """Let no test of a subscription wait for ever."""
    async with asyncio.timeout(20):
        yield
