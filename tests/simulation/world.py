"""Three places for servers, their stores, and the ways on which clients reach them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from src.state.errors import DurableTierUnavailable, SharedTierUnavailable, StateError
from src.state.guards import Guards
from src.state.protocols import PAGE
from src.state.tiers.memory_database import Head
from tests.simulation.awaits import Await
from tests.simulation.loop import PROCESS
from tests.simulation.process import Process
from tests.simulation.stores import Database, Space
from tests.simulation.strays import Strays
from tests.support.clock import VirtualClock
from tests.support.cluster import Server
from tests.support.cluster_settings import settings
from tests.support.kinds import NOTEBOOKS, written
from tests.support.ledger import Died, Line, Posted

T = TypeVar("T")

SERVERS = 3
_DRAIN_S = 20.0
_HAND_OVER_S = 8.0
_AGAIN_S = 0.05


class Unreachable(Exception):
    """No answer: the server is not there, went away, or was too slow for the client."""


class WanderingClock(VirtualClock):
    """Wall time may jump; the monotonic clock never does."""

    wall_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.wall_s)


class Life:
    """One server process, from its start to its end."""

    def __init__(self, place: int, process: Process, server: Server) -> None:
        self.place, self.process, self.server = place, process, server
        self.context = copy_context()
        self.context.run(PROCESS.set, process)
        self.open = False
        """Takes requests."""
        self.quit = asyncio.Event()
        self.calls: dict[asyncio.Future[Any], None] = {}
        self.strays: list[Strays] = []

    @property
    def name(self) -> str:
        return self.process.name


class World:
    """What a seed made: stores, servers, and everything that is told about them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chance: random.Random,
        guards: Guards,
        tell: Callable[[str], None],
    ) -> None:
        self.chance, self.tell = chance, tell
        self._guards = guards
        self.loop = loop
        self.database, self.space = Database(chance), Space(chance)
        self.settings = settings(**_drawn_settings(chance))
        self.lives: list[Life | None] = [None] * SERVERS
        self.ledger: list[Line] = []
        self.struck: Counter[Await] = Counter()
        """Where servers crashed."""
        self.crashes = 0
        self.defects: list[str] = []
        self.ways: list[Strays] = []
        self.servers: list[Server] = []
        """All there ever were: of those that are gone a request may still be under way."""
        self.restart_s = (0.1, 4.0)
        self._over = False
        self._starts = 0
        self._ids = 0
        self._all: list[Process] = []

    def write(self, line: Line) -> None:
        """Note what a client learnt."""
        self.ledger.append(line)
        self.tell(repr(line))

    def fill(self, id: str) -> None:
        """Begin with a history of more than a page, of an owner long gone."""
        lines = [f"{id} {number}" for number in range(PAGE + 1)]
        epoch = self.database.timeline << 32
        for line in lines:
            self.ledger.append(Posted(id, line, "ada", line))
        events = [written(id, epoch, seq, line, line) for seq, line in enumerate(lines, 1)]
        self.database.events[NOTEBOOKS.events][id].extend(events)
        self.database.heads[NOTEBOOKS.heads][id] = Head(None, epoch, len(events))

    # -- servers ---------------------------------------------------------------------------------

    def start(self, place: int) -> None:
        """Start a server in a place, under a name of its own."""
        if self._over:
            return
        self._starts += 1
        process = Process(f"{'abc'[place]}{self._starts}", self._crashed)
        self._all.append(process)
        server = Server(
            process.name,
            self.database,
            self.space,
            self.settings,
            WanderingClock(self.chance.uniform(0.0, 10_000.0)),
            self._guards,
            NOTEBOOKS,
            self._new_id,
        )
        membership = server.membership
        membership.on_deposed = self._noting(process, membership.on_deposed)
        membership.on_branch = self._noting(process, membership.on_branch)
        self.servers.append(server)
        life = self.lives[place] = Life(place, process, server)
        life.strays = self._strays(process, server)
        self.tell(f"{process.name} starts")
        main = self.loop.create_task(self._live(life), context=life.context)
        main.add_done_callback(lambda task: self._ended(life, task))

    def _strays(self, process: Process, server: Server) -> list[Strays]:
        def arrived(name: str, answer: object) -> None:
            self.tell(f"a stray {name} of {process.name} arrived: {answer}")

        made = []
        for error, store, names in (
            (DurableTierUnavailable, server.log, ("append", "save")),
            (
                DurableTierUnavailable,
                server.notebooks.holdings._ownership,
                ("acquire", "release", "hand_over"),
            ),
            (DurableTierUnavailable, server.registry, ("beat", "declare_dead", "set_announces")),
            (SharedTierUnavailable, server.shared, ("put",)),
            (SharedTierUnavailable, server.bus, ("publish",)),
        ):
            way = Strays(self.loop, self.chance, error, arrived)
            way.lead(store, *names)
            made.append(way)
        self.ways += made
        return made

    def _noting(
        self, process: Process, drop: Callable[[], Awaitable[None]] | None
    ) -> Callable[[], Awaitable[None]]:
        """Note first that what only this server's memory had may be gone."""
        assert drop is not None

        async def note_and_drop() -> None:
            self._died(process)
            await drop()

        return note_and_drop

    def _new_id(self) -> str:
        self._ids += 1
        return f"srv-{self._ids}"

    async def _live(self, life: Life) -> None:
        """What the composition root does, from join to farewell."""
        server = life.server
        async with server.running():
            life.open = True
            await life.quit.wait()
            await self._hand_over(server)
            life.open = False
            try:
                async with asyncio.timeout(_DRAIN_S):
                    await server.notebooks.drain()
            except (StateError, TimeoutError) as error:
                self.tell(f"{life.name} could not drain: {error}")
            try:
                async with asyncio.timeout(_DRAIN_S):
                    await server.membership.leave()
            except (StateError, TimeoutError) as error:
                self.tell(f"{life.name} left unheard: {error}")

    async def _hand_over(self, server: Server) -> None:
        """Give everything to the others while this server still answers, as on SIGTERM."""
        membership, notebooks = server.membership, server.notebooks
        membership.leaving = True
        try:
            async with asyncio.timeout(_HAND_OVER_S):
                await notebooks.writebehind.flush_all()
                while (others := membership.others()) and (ids := notebooks.holdings.ids()):
                    heir = others[0] if self.chance.random() < 0.5 else None
                    await notebooks.holdings.give_up(ids[:2], heir)
                    if len(notebooks.holdings) == len(ids):
                        await asyncio.sleep(_AGAIN_S)
        except (DurableTierUnavailable, TimeoutError) as error:
            self.tell(f"handed over in part: {error}")

    def _ended(self, life: Life, main: asyncio.Task[None]) -> None:
        if life.process.dead or self._over:
            return
        error = main.exception()
        if error is not None and not isinstance(error, DurableTierUnavailable):
            self.defects.append(f"{life.name} ended by itself: {error!r}")
        life.process.crash()

    def _crashed(self, process: Process, at: tuple[Await, ...]) -> None:
        self._died(process)
        life = next(one for one in self.lives if one is not None and one.process is process)
        if at:
            self.crashes += 1
            self.struck.update(at)
            self.tell(f"{process.name} crashes at {' > '.join(map(str, at))}")
        else:
            self.tell(f"{process.name} is gone")
        life.open = False
        for reply in life.calls:
            if not reply.done():
                reply.set_exception(Unreachable("the connection was reset"))
        self.lives[life.place] = None
        delay = self.chance.uniform(*self.restart_s)
        self.loop.call_later(delay, self.start, life.place)

    def _died(self, process: Process) -> None:
        self.write(Died(process.name, self.loop.time()))

    def living(self) -> list[Life]:
        """Return the lives that take requests, paused ones included."""
        return [life for life in self.lives if life is not None and life.open]

    def running(self) -> list[Life]:
        """Return the lives that go on, starting and ending ones included."""
        return [life for life in self.lives if life is not None]

    def owner_of_most(self) -> Life | None:
        """Return the living server that holds the most."""
        return max(
            self.living(), key=lambda life: len(life.server.notebooks.holdings), default=None
        )

    def find(self, server_id: str) -> Life | None:
        """Return the living server of that id."""
        return next((one for one in self.living() if one.server.id == server_id), None)

    # -- requests --------------------------------------------------------------------------------

    async def call(
        self, life: Life, work: Callable[[Server], Coroutine[Any, Any, T]], patience_s: float
    ) -> T:
        """Ask a server; its answer, its error, or Unreachable."""
        if not life.open or life.process.dead:
            await asyncio.sleep(0.01)
            raise Unreachable("nobody listens")
        reply: asyncio.Future[T] = self.loop.create_future()
        task = self.loop.create_task(work(life.server), context=life.context)
        task.add_done_callback(partial(_pass_on, reply))
        life.calls[reply] = None
        patience = self.loop.call_later(patience_s, _give_up, reply)
        try:
            return await reply
        except Unreachable:
            # Some clients hang up, others leave their request where it is.
            if self.chance.random() < 0.5:
                task.cancel()
            raise
        finally:
            patience.cancel()
            life.calls.pop(reply, None)

    async def end(self) -> None:
        """Take all that is left apart; nothing of it is told any more."""
        self._over = True
        for way in self.ways:
            await way.end()
        for process in self._all:
            await process.bury()


def _pass_on(reply: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        error: BaseException | None = Unreachable("cancelled")
    else:
        error = task.exception()
    if reply.done():
        return
    if error is not None:
        reply.set_exception(error)
    else:
        reply.set_result(task.result())


def _give_up(reply: asyncio.Future[Any]) -> None:
    if not reply.done():
        reply.set_exception(Unreachable("no answer in time"))


def _drawn_settings(chance: random.Random) -> dict[str, Any]:
    """Small bounds and short waits, so that rare ways are gone often."""
    drawn: dict[str, Any] = {}
    if chance.random() < 0.6:
        drawn |= {"beat_interval": 0.5, "owner_deadline": 1.25, "dead_after": 1.5}
    if chance.random() < 0.5:
        drawn |= {"l1_entries": chance.choice((1, 2, 3))}
    if chance.random() < 0.3:
        drawn |= {"idle_release": chance.choice((1.0, 3.0))}
    if chance.random() < 0.4:
        drawn |= {"flush_debounce": 0.2, "flush_max_wait": chance.choice((0.4, 1.0))}
    if chance.random() < 0.3:
        drawn |= {"flush_max_events": chance.choice((1, 3)), "flush_batch": 1}
    if chance.random() < 0.2:
        drawn |= {"amber_bytes": 1024, "red_bytes": 4096}
    if chance.random() < 0.3:
        drawn |= {"submit_timeout": 1.0}
    if chance.random() < 0.2:
        drawn |= {"max_loads": 1}
    return drawn
