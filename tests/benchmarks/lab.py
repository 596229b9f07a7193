"""What all rows share: real servers, one runtime of ours in this process, and the bare drivers."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from redis.asyncio import Redis

from src.embedded import Servers
from src.state.models import Durability, Event
from src.state.settings import StateSettings
from src.state.tiers.postgres import Connection
from src.swarm.forwarding import Receipt
from src.swarm.opened import Runtime
from src.swarm.runtime import open_runtime
from src.swarm.service import SwarmService
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.shapes.commands import Command
from tests.benchmarks import fixture
from tests.benchmarks.cluster import Cluster, open_two

SECRET = "benchmarks-benchmarks-benchmarks"
WRITERS = 100


class Inside:
    """The parts behind the runtime's door that a row measures alone; no edge is given these."""

    def __init__(self, runtime: Runtime) -> None:
        self.conversations = runtime.status._conversations
        self.store = self.conversations.store
        self.writebehind = self.conversations.writebehind
        self.announcer = runtime.status._announcer

    def forget(self, ids: Iterable[str]) -> None:
        """Drop entries from L1."""
        for id in ids:
            self.store._l1.drop(id)


class Lab:
    """The servers, our runtime and the bare drivers, all of one process and one event loop."""

    def __init__(
        self,
        servers: Servers,
        folder: Path,
        runtime: Runtime,
        line: Connection,
        pool: asyncpg.Pool[asyncpg.Record],
        redis: Redis,
        clusters: Callable[[], Awaitable[Cluster]],
        *,
        quick: bool,
    ) -> None:
        self.servers, self.folder, self.quick = servers, folder, quick
        self._open_cluster = clusters
        self._cluster: Cluster | None = None
        self.runtime = runtime
        self.service = runtime.service
        self.inside = Inside(runtime)
        self.line, self.pool, self.redis = line, pool, redis
        self._keys = itertools.count()
        chance = random.Random(8)
        # Made beforehand: inventing a turn takes as long as deciding it.
        self._turns = itertools.cycle([fixture.turn(chance) for _ in range(500)])

    def scaled(self, full: int, quick: int) -> int:
        """Return how many, by the kind of run."""
        return quick if self.quick else full

    async def cluster(self) -> Cluster:
        """Return the two server processes, started at the first call."""
        if self._cluster is None:
            self._cluster = await self._open_cluster()
        return self._cluster

    # -- conversations ---------------------------------------------------------------------------

    async def write(
        self,
        id: str,
        command: Command,
        durability: Durability | None = None,
        service: SwarmService | None = None,
    ) -> Receipt:
        """Submit a command under a key of its own, here unless another server is given."""
        return await (service or self.service).submit(
            id,
            command,
            key=f"k{next(self._keys)}",
            actor=fixture.PERSON,
            durability=durability,
            create=True,
        )

    async def speak(self, id: str) -> Receipt:
        """Add a turn, logged."""
        return await self.write(id, next(self._turns))

    async def make(
        self, ids: Sequence[str], turns: int = 12, service: SwarmService | None = None
    ) -> None:
        """Make conversations by their commands."""

        async def one(id: str) -> None:
            for command in fixture.conversation(id, turns):
                await self.write(id, command, service=service)

        await crowd(WRITERS, ids, one)

    async def library(self, prefix: str, count: int) -> list[str]:
        """Make conversations that lie in L2 and L3 and belong to no server.

        Another server makes them and leaves: it flushes and gives up what it owned.
        """
        ids = [f"{prefix}-{number}" for number in range(count)]
        settings = runtime_settings(self.servers, "http://127.0.0.1:3")
        async with open_runtime(settings) as other:
            await self.make(ids, service=other.service)
        return ids

    async def settle(self) -> None:
        """Let nothing that a row left to do run into the next one."""
        await self.inside.conversations.commit.drained()
        await self.inside.writebehind.flush_all()

    async def last_event(self, id: str) -> Event:
        """Return the newest logged event, as a bare driver would have to insert it."""
        events = await self.service.events(id, after=0, limit=1000)
        return events[-1]


async def crowd(
    writers: int, items: Iterable[str], work: Callable[[str], Awaitable[object]]
) -> None:
    """Have that many tasks work the items off, each taking the next one."""
    waiting = iter(items)

    async def one() -> None:
        for item in waiting:
            await work(item)

    await asyncio.gather(*(one() for _ in range(writers)))


def runtime_settings(servers: Servers, url: str) -> RuntimeSettings:
    """Settings as they come, but for what lets all rows live side by side."""
    state = StateSettings(
        database_url=SecretStr(servers.database_url),
        redis_url=SecretStr(servers.redis_url),
        l1_entries=20_000,
        # What a row owns stays owned while the others are measured.
        idle_release=timedelta(hours=1),
    )
    return RuntimeSettings(state, SwarmSettings(server_url=url, internal_secret=SecretStr(SECRET)))


@asynccontextmanager
async def open_lab(
    servers: Servers, apart: Servers, folder: Path, *, quick: bool
) -> AsyncIterator[Lab]:
    """Open everything on two pairs of servers whose tables exist.

    The server processes get the pair `apart`: they would take over what a row here gives up.
    """
    async with AsyncExitStack() as stack:
        line = await asyncpg.connect(servers.database_url)
        stack.push_async_callback(line.close)
        redis = Redis.from_url(servers.redis_url)
        stack.push_async_callback(redis.aclose)
        pool = await stack.enter_async_context(
            asyncpg.create_pool(servers.database_url, min_size=16, max_size=16)
        )
        settings = runtime_settings(servers, "http://127.0.0.1:1")
        runtime = await stack.enter_async_context(open_runtime(settings))

        async def clusters() -> Cluster:
            return await stack.enter_async_context(open_two(apart, folder))

        yield Lab(servers, folder, runtime, line, pool, redis, clusters, quick=quick)
