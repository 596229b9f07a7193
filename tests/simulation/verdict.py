"""What everything must look like in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from src.state.errors import StateError
from src.state.models import Entry, Event, Read
from src.state.reads.source import fold_events
from tests.simulation.world import SERVERS, Life, Unreachable, World
from tests.support.cluster import Server
from tests.support.history import FRESH_WITHIN_S, Logged, check
from tests.support.kinds import NOTEBOOKS, Notebook

_REST_S = 60.0
_LOOKS = 120
_BUFFERED_S = 120.0
"""Longer than any outage here: a buffered ack is excused by a death only."""


def logged(world: World) -> Iterator[tuple[str, list[Event]]]:
    """Return the log, by conversation."""
    yield from sorted(world.database.events[NOTEBOOKS.events].items())


def judge(world: World) -> list[str]:
    """Hold what clients were told against the log."""
    rows = [
        Logged(id, event.version, event.event_id.rpartition(":")[0], "ada", _line(event))
        for id, events in logged(world)
        for event in events
    ]
    return [str(one) for one in check(world.ledger, rows, buffered_within_s=_BUFFERED_S)]


def _line(event: Event) -> str:
    line: str = NOTEBOOKS.decode_event(event.type, event.schema, event.body).line
    return line


async def at_rest(world: World) -> list[str]:
    """Wait until nothing is under way any more; then all tiers must tell the same (I4)."""
    for _ in range(_LOOKS):
        if not (busy := _busy(world)):
            break
        await asyncio.sleep(_REST_S / _LOOKS)
    else:
        return [f"not at rest after {_REST_S:.0f} s (I4): {busy}"]
    owed = [owes for life in world.living() if (owes := _owes(life))]
    # Until then a copy may be older than the last write (I6).
    await asyncio.sleep(FRESH_WITHIN_S)
    wrong = owed
    for id, events in logged(world):
        truth = fold_events(NOTEBOOKS, id, None, events)
        if truth is not None:
            wrong += [f"{id}: {what} (I4)" async for what in _disagreements(world, truth, events)]
    return wrong


def _busy(world: World) -> str:
    if len(world.living()) < SERVERS:
        return "a server does not run"
    if any(way.under_way for way in world.ways):
        return "a request is still under way"
    for life in world.living():
        notebooks = life.server.notebooks
        if notebooks.commit.waiting:
            return f"{life.name} has {notebooks.commit.waiting} commands waiting"
        if len(notebooks.writebehind):
            return f"{life.name} has {len(notebooks.writebehind)} dirty"
        if any(
            not lane.idle
            for id in notebooks.holdings.ids()
            if (lane := notebooks.holdings.find(id)) is not None
        ):
            return f"{life.name} has a lane that is not idle"
    snapshots = world.database.snapshots[NOTEBOOKS.snapshots]
    for id, events in logged(world):
        snapshot = snapshots.get(id)
        if events and (snapshot is None or snapshot.version != events[-1].version):
            return f"the snapshot of {id} is behind its log"
    return ""


def _owes(life: Life) -> str:
    """Say what a server believes to have still to write, though there is nothing."""
    pressure = life.server.notebooks.pressure
    if pressure.held or pressure.due_by != float("inf"):
        return f"{life.name} at rest holds {pressure.held} bytes, due by {pressure.due_by}"
    return ""


async def _disagreements(
    world: World, truth: Entry[Notebook], events: list[Event]
) -> AsyncIterator[str]:
    body = truth.body(NOTEBOOKS.encode_state)
    snapshot = world.database.snapshots[NOTEBOOKS.snapshots][truth.id]
    if snapshot.body != body:
        yield f"the snapshot at {snapshot.version.token} is not fold(events)"
    row = world.database.read_models[NOTEBOOKS.read_models[0].table].get(truth.id)
    if row is None or row[1] != truth.version.seq:
        yield "the read model is not at the end of the log"
    for life in world.living():
        lane = life.server.notebooks.holdings.find(truth.id)
        held = world.database.heads[NOTEBOOKS.heads][truth.id].owner_id == life.server.id
        if (lane is not None) and not held:
            yield f"{life.name} holds what it does not own"
        if lane is not None and lane.state != truth.state:
            yield f"{life.name}'s lane is not fold(events)"

        async def read(server: Server) -> Read[Notebook] | None:
            return await server.notebooks.read(truth.id)

        try:
            found = await world.call(life, read, 5.0)
        except (StateError, Unreachable) as error:
            yield f"{life.name} answers {error!r}"
            continue
        if found is None or found.stale_s is not None or found.entry.version != truth.version:
            yield f"{life.name} answers {found}"
        elif found.entry.state != truth.state:
            yield f"{life.name} does not answer fold(events)"
    cell = world.space.cells.get((NOTEBOOKS.name, truth.id))
    if cell is not None and cell.head > truth.version:
        yield f"L2's head {cell.head.token} is beyond the log"
    if cell is not None and cell.snapshot is not None:
        upto = [event for event in events if event.version <= cell.snapshot.version]
        prefix = fold_events(NOTEBOOKS, truth.id, None, upto)
        if prefix is None or prefix.version != cell.snapshot.version:
            yield f"L2 holds {cell.snapshot.version.token}, which is not in the log"
        elif prefix.body(NOTEBOOKS.encode_state) != cell.snapshot.body:
            yield "L2's body is not the log's prefix"
