"""What goes wrong in a simulation, when, and for how long; in the end all of it is made good."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.simulation.awaits import Await, reachable
from tests.simulation.stores import CALM, Weather
from tests.simulation.world import Life, World
from tests.support.clock import jump
from tests.support.cluster import Link

Fault = Callable[["Faults"], Awaitable[None]]

_AIM_S = 12.0
"""Virtual seconds in which a planned crash must have come about; then it comes anywhere."""

_WAYS_TO_L3 = tuple(one for one in reachable() if one.path.endswith("memory_log.py"))
_LONG_AIM_S = 30.0
"""The same where one await is what the seed is about."""


class Faults:
    """Draws faults and makes them happen."""

    def __init__(self, world: World, aim: Await | None) -> None:
        self._world, self._aim = world, aim
        self._chance: random.Random = world.chance
        self.counts: Counter[str] = Counter()

    async def strike(self, over_s: float) -> None:
        """Let some faults begin within a time, at least one of them a crash.

        With an await to aim at every fault comes once, since most awaits are met in trouble only.
        """
        if self._aim is not None:
            names = [*_NAMES, "stop", "stop", "lost_answers"]
        else:
            count = self._chance.randint(4, 7)
            names = [*self._chance.choices(_NAMES, _WEIGHTS, k=count), "crash"]
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                aiming = name == "crash" and self._aim is not None
                delay_s = 0.0 if aiming else self._chance.uniform(0.0, over_s)
                tasks.create_task(self._later(name, delay_s))

    async def _later(self, name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.counts[name] += 1
        self._world.tell(f"fault: {name}")
        await FAULTS[name][1](self)
        self._world.tell(f"over: {name}")

    def _victim(self) -> Life | None:
        """Pick a server: often the one that matters most."""
        running = self._world.running()
        if not running:
            return None
        if self._chance.random() < 0.6:
            return self._world.owner_of_most() or self._chance.choice(running)
        return self._chance.choice(running)

    def _links(self) -> list[Link]:
        """Pick one way of one server to a store, or all of its ways to one store."""
        victim = self._victim()
        if victim is None:
            return []
        server = victim.server
        ways = (
            *((link,) for link in server.links),
            (server.log_link, server.read_link, server.owner_link),
            (
                server.log_link,
                server.read_link,
                server.owner_link,
                server.beat_link,
                server.notice_link,
            ),
            (server.shared_link, server.bus_link),
        )
        return list(self._chance.choice(ways))

    async def _last(self, short_s: float, long_s: float) -> None:
        await asyncio.sleep(self._chance.uniform(short_s, long_s))

    # -- servers ---------------------------------------------------------------------------------

    async def crash(self) -> None:
        """Stop a server for ever at an await drawn beforehand."""
        if self._aim is None and self._chance.random() < 0.15:
            victim = self._victim()
            if victim is not None:
                victim.process.aim(None, self._chance.randint(1, 20))
            return
        at = self._aim or self._chance.choice(reachable())
        times = self._chance.choice((1, 1, 2, 3, 5, 9))
        crashes = self._world.crashes
        until = self._world.loop.time() + (_LONG_AIM_S if self._aim else _AIM_S)
        self._world.tell(f"to crash at {at}, {times}")
        while self._world.crashes == crashes and self._world.loop.time() < until:
            for life in self._world.running():
                if not life.process.watching:
                    life.process.aim(at, times)
            await asyncio.sleep(0.2)
        for life in self._world.running():
            life.process.watching = False
        victim = self._victim()
        if self._world.crashes == crashes and victim is not None:
            victim.process.aim(None)

    async def fall(self) -> None:
        """Stop the server that owns the most, wherever it is."""
        victim = self._world.owner_of_most()
        if victim is not None:
            victim.process.crash()

    async def stop(self) -> None:
        """End a server in order, sometimes while it waits for an owner's row."""
        victim = self._victim()
        if victim is None:
            return
        if self._chance.random() < 0.4:
            victim.server.owner_link.hold()
            await self._last(0.1, 1.0)
        victim.quit.set()

    async def pause(self) -> None:
        """Stop a server in its tracks, often on its way to PostgreSQL."""
        victim = self._victim()
        if victim is None:
            return
        process = victim.process
        if self._chance.random() < 0.6 and not process.watching:
            process.aim(self._chance.choice(_WAYS_TO_L3), self._chance.randint(1, 3), pause=True)
            await self._last(0.5, 3.0)
            process.watching = False
        process.pause()
        await self._last(*self._chance.choice(((0.1, 2.0), (1.5, 4.0), (5.2, 9.0))))
        victim.process.go_on()

    async def freeze(self) -> None:
        """Let nothing of a server through, while it goes on."""
        victim = self._victim()
        if victim is None:
            return
        victim.server.freeze()
        await self._last(0.5, 8.0)
        victim.server.thaw()

    async def stall(self) -> None:
        """Let the machine stand still."""
        jump(self._chance.uniform(0.5, 7.0))

    async def wall_clock(self) -> None:
        victim = self._victim()
        if victim is not None:
            victim.server.clock.wall_s = self._chance.uniform(-3600.0, 3600.0)  # type: ignore[attr-defined]

    # -- ways ------------------------------------------------------------------------------------

    async def cut(self) -> None:
        links = self._links()
        for link in links:
            link.up = False
        await self._last(0.1, 6.0)
        for link in links:
            link.up = True

    async def hold(self) -> None:
        links, answers = self._links(), self._chance.random() < 0.5
        for link in links:
            if answers:
                link.hold_answers()
            else:
                link.hold()
        await self._last(0.1, 4.0)
        for link in links:
            link.release()

    async def slow(self) -> None:
        links, delay = self._links(), self._chance.choice((0.01, 0.1, 0.5, 1.5))
        for link in links:
            link.delay_s = delay
        await self._last(0.5, 6.0)
        for link in links:
            link.delay_s = 0.0

    async def lost_answers(self) -> None:
        links = self._links()
        if self._chance.random() < 0.3:
            # Whoever takes over what a dead server left.
            links = [life.server.owner_link for life in self._world.running()]
        for link in links:
            link.lost_answers = self._chance.randint(1, 4)
        await self._last(0.0, 3.0)

    async def strays(self) -> None:
        """Let requests arrive long after their asker has given up, or crashed."""
        victim = self._victim()
        if victim is None:
            return
        # Most of all appends: whose they are decides what is acknowledged.
        way = victim.strays[0] if self._chance.random() < 0.6 else None
        way = way or self._chance.choice(victim.strays)
        way.next = self._chance.randint(1, 3)
        if self._chance.random() < 0.4:
            way.then = victim.process.crash

    async def late_acquires(self) -> None:
        """Let a server's own requests for what it holds, given up long ago, arrive after all."""
        victim = self._victim()
        if victim is None or not self._world.database.available:
            return
        for head in self._world.database.heads["conversations"].values():
            if head.owner_id == victim.server.id:
                head.epoch += 1

    # -- PostgreSQL ------------------------------------------------------------------------------

    async def postgres_away(self) -> None:
        database = self._world.database
        database.available = False
        if self._chance.random() < 0.5:
            database.cut_sessions()
        await self._last(0.2, 9.0)
        database.available = True

    async def postgres_failover(self) -> None:
        """Another PostgreSQL takes over and has everything."""
        self._world.database.timeline += 1
        self._world.database.cut_sessions()

    async def notices_cut(self) -> None:
        self._world.database.cut_sessions()

    # -- Redis -----------------------------------------------------------------------------------

    async def redis_away(self) -> None:
        space = self._world.space
        space.available = False
        space.cut_subscriptions()
        await self._last(0.2, 8.0)
        if self._chance.random() < 0.4:
            space.restart()
        space.available = True

    async def flushall(self) -> None:
        self._world.space.clear()

    async def old_dump(self) -> None:
        """Save, go on for a while, come back as of then."""
        self._world.space.save()
        await self._last(0.5, 6.0)
        self._world.space.restart_from_dump()

    async def evict(self) -> None:
        """Redis is full: what it may forget goes."""
        cells = self._world.space.cells
        for name in [name for name in cells if self._chance.random() < 0.5]:
            del cells[name]

    async def deaf(self) -> None:
        self._world.space.cut_subscriptions()

    async def bad_post(self) -> None:
        """Announcements get lost, come late, overtake each other."""
        chance = self._chance
        weather = Weather(chance.choice((0.0, 0.3, 1.0)), 0.5, chance.choice((0.05, 1.0, 4.0)))
        self._world.space.post.weather = weather
        self._world.database.post.weather = weather
        await self._last(1.0, 8.0)
        self._world.space.post.weather = CALM
        self._world.database.post.weather = CALM

    def end(self) -> None:
        """Make everything good."""
        world = self._world
        world.database.available = world.space.available = True
        world.space.post.weather = world.database.post.weather = CALM
        for way in world.ways:
            way.next = 0
        for life in world.running():
            life.process.watching = False
            life.process.go_on()
        for server in world.servers:
            server.thaw()
            for link in server.links:
                link.up, link.delay_s, link.lost_answers = True, 0.0, 0


FAULTS: dict[str, tuple[float, Fault]] = {
    "crash": (5.0, Faults.crash),
    "fall": (1.0, Faults.fall),
    "stop": (1.0, Faults.stop),
    "pause": (3.0, Faults.pause),
    "freeze": (2.0, Faults.freeze),
    "stall": (0.5, Faults.stall),
    "wall_clock": (0.5, Faults.wall_clock),
    "cut": (3.0, Faults.cut),
    "hold": (3.0, Faults.hold),
    "slow": (2.0, Faults.slow),
    "lost_answers": (3.0, Faults.lost_answers),
    "strays": (3.0, Faults.strays),
    "late_acquires": (1.0, Faults.late_acquires),
    "postgres_away": (1.5, Faults.postgres_away),
    "postgres_failover": (0.7, Faults.postgres_failover),
    "notices_cut": (0.5, Faults.notices_cut),
    "redis_away": (2.0, Faults.redis_away),
    "flushall": (1.0, Faults.flushall),
    "old_dump": (1.0, Faults.old_dump),
    "evict": (0.7, Faults.evict),
    "deaf": (0.7, Faults.deaf),
    "bad_post": (2.0, Faults.bad_post),
}
_NAMES = list(FAULTS)
_WEIGHTS = [weight for weight, _ in FAULTS.values()]
