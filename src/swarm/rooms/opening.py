"""Rooms on a server: the service for its edges, and the duty that looks after them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from src.state.background import background
from src.state.ownership.leader import Duty, Leader
from src.state.protocols import Clock
from src.state.records.finalised import Finalised
from src.state.records.rooms import Rooms
from src.state.tiers.postgres import Pool
from src.swarm.in_force import InForce
from src.swarm.providers.registry import Registry
from src.swarm.rooms.finalising import Finaliser
from src.swarm.rooms.protocols import Media
from src.swarm.rooms.reviving import Reviver
from src.swarm.rooms.service import RoomService
from src.swarm.service import SwarmService

_LOOK = timedelta(seconds=30)
_FINALISE = timedelta(seconds=5)


@asynccontextmanager
async def open_rooms(
    pool: Pool,
    media: Media | None,
    service: SwarmService,
    in_force: InForce,
    registry: Registry,
    leader: Leader,
    clock: Clock,
    on_death: list[Callable[[str], None]],
    counted: list[Callable[[], Mapping[str, float]]],
) -> AsyncIterator[RoomService | None]:
    """Give the service, and have rooms looked after for the block; None without a LiveKit.

    Who dies is told to `on_death`; what the service counts goes to `counted`.
    """
    if media is None:
        yield None
        return
    finaliser = Finaliser(Finalised(pool), service, in_force, registry)
    rooms = RoomService(Rooms(pool), media, finaliser.over)
    reviver = Reviver(rooms, clock)
    on_death.append(reviver.died)
    leader.add(Duty("rooms", _LOOK, rooms.reconcile_as_duty))
    leader.add(Duty("sessions", _FINALISE, finaliser.finalise_as_duty))
    counted += [rooms.counts, finaliser.counts]
    async with background(reviver.run()):
        yield rooms
