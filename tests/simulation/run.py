"""One seed: build a world, let clients act and faults strike, make good, and judge."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

import msgspec
import structlog

from src.state.guards import ALL_ON, Guards
from tests.simulation.awaits import Await
from tests.simulation.clients import Client
from tests.simulation.faults import Faults
from tests.simulation.loop import PROCESS, SimulationLoop
from tests.simulation.verdict import at_rest, judge
from tests.simulation.world import SERVERS, World

OPERATIONS = 200
_CLIENTS = 5
_FAULTS_OVER_S = 14.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of a seed."""

    seed: int
    violations: tuple[str, ...]
    operations: int
    acked: int
    reads: int
    virtual_s: float
    faults: dict[str, int]
    crashes: int
    struck: dict[Await, int]
    """Awaits at which a server was crashed."""
    digest: str
    """Of everything that happened, in order: equal for equal seeds."""


def simulate(
    seed: int,
    *,
    guards: Guards = ALL_ON,
    aim: Await | None = None,
    trace: Callable[[str], None] | None = None,
) -> Outcome:
    """Play one seed to its end.

    With `aim` a server crashes at that await if any comes to it; by default each crash draws one.
    `trace` gets a line for everything that happens.
    """
    chance = random.Random(seed)
    # The product draws its jitter from the module's own generator.
    random.seed(seed)
    digest = hashlib.sha256()
    loop = SimulationLoop()

    def tell(text: str) -> None:
        line = f"{loop.time() - 1000.0:9.4f} {text}"
        digest.update(line.encode())
        if trace is not None:
            trace(line)

    asyncio.set_event_loop(loop)
    # A collection takes a tenth of the time, and nothing lives longer than a seed.
    gc.disable()
    world = World(loop, chance, guards, tell)
    try:
        with _logs_to(tell if trace is not None else None):
            outcome = loop.run_until_complete(_play(seed, world, aim))
        return msgspec.structs.replace(outcome, digest=digest.hexdigest()[:16])
    finally:
        loop.run_until_complete(world.end())
        loop.close()
        asyncio.set_event_loop(None)
        gc.enable()


async def _play(seed: int, world: World, aim: Await | None) -> Outcome:
    chance, loop = world.chance, world.loop
    began = loop.time()
    for place in range(SERVERS):
        world.start(place)
    names = [f"c{number}" for number in range(chance.choice((2, 5, 8, 20)))]
    if chance.random() < (0.03 if aim is None else 0.3):
        world.fill(names[0])
    clumsy = aim is not None
    clients = [Client(world, name, names, clumsy=clumsy) for name in "vwxyz"[:_CLIENTS]]
    faults = Faults(world, aim)
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.act(OPERATIONS // _CLIENTS))
        tasks.create_task(faults.strike(_FAULTS_OVER_S))
    faults.end()
    found = [*await at_rest(world), *judge(world), *world.defects]
    return Outcome(
        seed,
        tuple(found),
        sum(client.operations for client in clients),
        sum(client.acked for client in clients),
        sum(client.reads for client in clients),
        loop.time() - began,
        dict(faults.counts),
        world.crashes,
        dict(world.struck),
        "",
    )


@contextmanager
def _logs_to(tell: Callable[[str], None] | None) -> Iterator[None]:
    """Give the product's log to the trace, or to nobody."""
    before = structlog.get_config()

    def drop(logger: Any, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        if tell is not None:
            process = PROCESS.get()
            name = event.pop("event")
            tell(f"{process and process.name} logs {name} {event}")
        raise structlog.DropEvent

    least = logging.NOTSET if tell is not None else logging.CRITICAL
    wrapper = structlog.make_filtering_bound_logger(least)
    structlog.configure(processors=[drop], wrapper_class=wrapper)
    try:
        yield
    finally:
        structlog.configure(**before)
