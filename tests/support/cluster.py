"""Servers on tiers in memory, and the ways between them, under the control of a test.

A `Server` here is the state and the invalidation rooms put together as the composition root does
it, without the rooms above. All servers of a `Cluster` share one database and one space.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from src.invalidation.buses.memory import MemoryBus, MemoryNotices
from src.invalidation.listener import Listener
from src.invalidation.publisher import Announcer
from src.state.aggregates import Aggregates
from src.state.background import background
from src.state.errors import DurableTierUnavailable, SharedTierUnavailable, TierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.ladder.breaker import Way
from src.state.ladder.keeping import keep_for_ever
from src.state.ladder.ladder import Ladder
from src.state.models import Ack, Announcement, Durability, Read, Version
from src.state.ownership.membership import Membership, new_server_id
from src.state.protocols import Clock, Kind, Trip
from src.state.reads.source import LogSource
from src.state.reads.store import Store
from src.state.reads.turnstile import Turnstile
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.keys import partition_of
from src.state.tiers.memory import open_lease
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_log import MemoryLog
from src.state.tiers.memory_ownership import MemoryOwnership, MemoryRegistry
from src.state.tiers.memory_shared import MemoryShared
from src.state.tiers.memory_space import MemorySpace
from tests.support.clock import VirtualClock
from tests.support.cluster_settings import settings
from tests.support.kinds import NOTEBOOKS, Command, Notebook, Once, Write


class Link:
    """One server's way to a store, which a test may slow down, hold up or cut."""

    def __init__(self, way: Trip, error: type[TierUnavailable]) -> None:
        self._way, self._error = way, error
        self.trips = 0
        self.delay_s = 0.0
        self.up = True
        self.lost_answers = 0
        """So many of the next trips are made, and their answers never come."""
        self._there, self._back = asyncio.Event(), asyncio.Event()
        self.release()

    def hold(self) -> None:
        """Let nobody arrive until `release`."""
        self._there.clear()

    def hold_answers(self) -> None:
        """Let everybody arrive, and nobody come back until `release`."""
        self._back.clear()

    def release(self) -> None:
        self._there.set()
        self._back.set()

    def strand(self) -> Callable[[], None]:
        """Keep those who are on their way back there and let others pass; return what ends that."""
        stranded, self._back = self._back, asyncio.Event()
        self._back.set()
        return stranded.set

    @asynccontextmanager
    async def trip(self) -> AsyncIterator[None]:
        self.trips += 1
        await self._there.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if not self.up:
            raise self._error("the link is cut")
        async with self._way():
            yield
        await self._back.wait()
        if self.lost_answers:
            self.lost_answers -= 1
            raise self._error("the answer got lost")


def through(way: Way, link: Link) -> Trip:
    """A link behind the way that the failure ladder shuts."""

    @asynccontextmanager
    async def trip() -> AsyncIterator[None]:
        async with way.trip(), link.trip():
            yield

    return trip


class Server:
    """One process, as far as the state is concerned."""

    def __init__(
        self,
        name: str,
        database: MemoryDatabase,
        space: MemorySpace,
        given: StateSettings,
        clock: Clock,
        guards: Guards,
        kind: Kind[Notebook, Command],
        new_id: Callable[[], str] = new_server_id,
    ) -> None:
        self.clock = clock
        self._given = given
        self.log_link = Link(database.trip, DurableTierUnavailable)
        self.read_link = Link(database.trip, DurableTierUnavailable)
        self.owner_link = Link(database.trip, DurableTierUnavailable)
        self.beat_link = Link(database.trip, DurableTierUnavailable)
        self.notice_link = Link(database.trip, DurableTierUnavailable)
        self.shared_link = Link(space.trip, SharedTierUnavailable)
        self.bus_link = Link(space.trip, SharedTierUnavailable)
        self.ladder = Ladder(given, clock)
        cache = Way(self.ladder.shared, SharedTierUnavailable, "L2")
        durable = Way(self.ladder.durable, DurableTierUnavailable, "L3")
        self.read_trip = through(durable, self.read_link)
        self.loads = Turnstile("reads of states", given.max_loads, given.max_waiting_loads)
        self.owned_lease, self.heard_lease = open_lease(clock, guards), open_lease(clock, guards)
        self.told_lease = open_lease(clock, guards)
        self.incarnations = Incarnations()
        self.shared = MemoryShared(
            space,
            self.incarnations,
            given,
            clock,
            trip=through(cache, self.shared_link),
            guards=guards,
        )
        self.bus = MemoryBus(space, given, clock, trip=self.bus_link.trip)
        self.notices = MemoryNotices(database, trip=self.notice_link.trip)
        self.registry = MemoryRegistry(database, trip=self.beat_link.trip, guards=guards)
        self.membership = Membership(
            self.registry,
            given,
            clock,
            f"http://{name}",
            self.owned_lease,
            ladder=self.ladder,
            guards=guards,
            new_id=new_id,
        )
        self.announcer = Announcer(self.bus, self.notices, self.registry, self.membership, clock)
        self.log = MemoryLog(
            kind,
            database,
            trip=self.log_link.trip,
            guards=guards,
            timeline=lambda: self.membership.timeline,
        )
        self.source: LogSource[Notebook] = LogSource(
            kind, MemoryLog(kind, database, trip=self.read_trip), guards=guards
        )
        self.store: Store[Notebook] = Store(
            kind,
            self.source,
            self.shared,
            given,
            clock,
            owned=self.owned_lease,
            heard=self.heard_lease,
            incarnations=self.incarnations,
            loads=self.loads,
            guards=guards,
            timeline=lambda: self.membership.timeline,
        )
        self.notebooks: Aggregates[Notebook, Command] = Aggregates(
            kind,
            self.log,
            MemoryOwnership(kind, database, trip=through(durable, self.owner_link), guards=guards),
            self.shared,
            self.announcer,
            self.membership,
            self.store,
            self.source,
            given,
            clock,
            ladder=self.ladder,
            guards=guards,
        )
        self.membership.on_deposed = self.notebooks.holdings.deposed
        self.membership.on_branch = self.notebooks.branched
        self.listener = Listener(
            self.bus,
            self.notices,
            self.registry,
            self.membership,
            self,
            self.incarnations,
            given,
            clock,
            heard=self.heard_lease,
            ladder=self.ladder,
            told=self.told_lease,
            guards=guards,
        )

    # -- Subscriber ------------------------------------------------------------------------------

    def heard(self, change: Announcement) -> None:
        self.store.invalidate(change.id, change.version)

    def doubt(self, partition: int | None) -> None:
        self.store.clear(lambda name: partition is None or partition_of(name) == partition)

    # -- what tests do ---------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.membership.id

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(link for link in vars(self).values() if isinstance(link, Link))

    def freeze(self) -> None:
        """Let nothing of this server reach a store: to the others it is a paused process."""
        for link in self.links:
            link.hold()

    def thaw(self) -> None:
        for link in self.links:
            link.release()

    async def write(
        self,
        id: str,
        *lines: str,
        key: str | None = None,
        if_version: Version | None = None,
        durability: Durability = Durability.LOGGED,
    ) -> Ack[Notebook]:
        """Write lines, by default under a key made of them."""
        return await self.submit(
            id,
            Write(lines),
            key=key or " ".join(lines),
            if_version=if_version,
            durability=durability,
        )

    async def once(self, id: str, line: str, *, key: str) -> Ack[Notebook]:
        """Write a line that may stand there only once."""
        return await self.submit(id, Once(line), key=key)

    async def submit(
        self,
        id: str,
        command: Command,
        *,
        key: str,
        if_version: Version | None = None,
        durability: Durability = Durability.LOGGED,
    ) -> Ack[Notebook]:
        return await self.notebooks.submit(
            id,
            command,
            key=key,
            actor="ada",
            if_version=if_version,
            durability=durability,
            create=True,
        )

    async def read(self, id: str, *, at_least: Version | None = None) -> Read[Notebook]:
        """Read what is there."""
        read = await self.notebooks.read(id, at_least=at_least)
        assert read is not None, f"{id} was not found"
        return read

    async def lines(self, id: str) -> tuple[str, ...]:
        """Read the lines."""
        return (await self.read(id)).entry.state.lines

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await self.membership.join()
            await stack.enter_async_context(_beating(self, self._given))
            await stack.enter_async_context(self.notebooks.running())
            await stack.enter_async_context(self.listener.running())
            yield


@asynccontextmanager
async def _beating(server: Server, given: StateSettings) -> AsyncIterator[None]:
    async with background(
        server.membership.beat_for_ever(),
        server.announcer.heal_for_ever(),
        keep_for_ever(server.ladder.durable, server.shared, [server.store], given, server.clock),
    ):
        yield


class Cluster:
    """A database, a space, and the servers that a test opens on them."""

    def __init__(self, **changes: Any) -> None:
        self.database = MemoryDatabase()
        self.space = MemorySpace()
        self.settings = settings(**changes)

    def server(
        self,
        name: str = "a",
        *,
        guards: Guards = ALL_ON,
        offset_s: float = 0.0,
        ahead_s: float | None = None,
        kind: Kind[Notebook, Command] = NOTEBOOKS,
    ) -> Server:
        """Make a server that does not run yet."""
        clock = VirtualClock(offset_s, ahead_s)
        return Server(name, self.database, self.space, self.settings, clock, guards, kind)

    @asynccontextmanager
    async def open(
        self,
        *names: str,
        guards: Guards = ALL_ON,
        kind: Kind[Notebook, Command] = NOTEBOOKS,
    ) -> AsyncIterator[list[Server]]:
        """Run servers; each has a clock of its own."""
        async with AsyncExitStack() as stack:
            servers = []
            for place, name in enumerate(names):
                server = self.server(name, guards=guards, offset_s=1000.0 * place, kind=kind)
                await stack.enter_async_context(server.running())
                servers.append(server)
            yield servers

    def logged(self, id: str) -> list[str]:
        """The event ids in the log, in order."""
        return [event.event_id for event in self.database.events["events"][id]]

    def texts(self, id: str) -> list[str]:
        """The lines in the log, in order."""
        events = self.database.events["events"][id]
        return [NOTEBOOKS.decode_event(e.type, e.schema, e.body).line for e in events]

    def snapshot(self, id: str) -> Version | None:
        """The version of the snapshot in L3."""
        found = self.database.snapshots["snapshots"].get(id)
        return None if found is None else found.version
