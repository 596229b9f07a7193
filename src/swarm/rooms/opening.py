"""Rooms on a server: the service for its edges, and what looks after them and their line.

Sessions are kept without a LiveKit too: calls have some.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from src.state.background import background
from src.state.ownership.leader import Duty, Leader
from src.state.ownership.membership import Membership
from src.state.protocols import Clock
from src.state.records.finalised import Finalised
from src.state.records.rooms import Rooms
from src.state.records.swarm_queue import SwarmQueue
from src.state.tiers.postgres import Pool
from src.swarm.in_force import InForce
from src.swarm.providers.registry import Registry
from src.swarm.rooms.finalising import Finaliser
from src.swarm.rooms.protocols import Media
from src.swarm.rooms.queue import Queue
from src.swarm.rooms.reviving import Reviver
from src.swarm.rooms.service import RoomService
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.rooms.workers import Workers
from src.swarm.service import SwarmService

_LOOK = timedelta(seconds=30)
_FINALISE = timedelta(seconds=5)


@asynccontextmanager
async def open_rooms(
    pool: Pool,
    media: Media | None,
    settings: LiveKitSettings,
    service: SwarmService,
    in_force: InForce,
    registry: Registry,
    leader: Leader,
    membership: Membership,
    counted: list[Callable[[], Mapping[str, float]]],
    clock: Clock,
) -> AsyncIterator[tuple[RoomService | None, Workers, Finaliser]]:
    """Give the service, who hosts rooms and who keeps sessions; all is looked after for the block.

    Without a LiveKit there is no service. What both count goes to `counted`.
    """
    finaliser = Finaliser(Finalised(pool), service, in_force, registry)
    leader.add(Duty("sessions", _FINALISE, finaliser.finalise_as_duty))
    counted.append(finaliser.counts)
    if media is None:
        workers = Workers(membership, None)
        counted.append(workers.counts)
        yield None, workers, finaliser
        return
    queue = Queue(SwarmQueue(pool), media, settings)
    rooms = RoomService(Rooms(pool), media, queue, finaliser.over)
    reviver = Reviver(rooms, clock)
    workers = Workers(membership, queue)
    membership.on_death.append(reviver.died)
    leader.add(Duty("rooms", _LOOK, rooms.reconcile_as_duty))
    counted += [rooms.counts, workers.counts]
    async with background(reviver.run(), queue.run(clock)):
        yield rooms, workers, finaliser
