"""Rooms on a server: the service for its edges, and the duty that looks after them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from src.state.background import background
from src.state.ownership.leader import Duty, Leader
from src.state.protocols import Clock
from src.state.records.rooms import Rooms
from src.swarm.rooms.protocols import Media
from src.swarm.rooms.reviving import Reviver
from src.swarm.rooms.service import RoomService

_LOOK = timedelta(seconds=30)


@asynccontextmanager
async def open_rooms(
    records: Rooms,
    media: Media | None,
    leader: Leader,
    on_death: list[Callable[[str], None]],
    counted: list[Callable[[], Mapping[str, float]]],
    clock: Clock,
) -> AsyncIterator[RoomService | None]:
    """Give the service, and have rooms looked after for the block; None without a LiveKit.

    Who dies is told to `on_death`; what the service counts goes to `counted`.
    """
    if media is None:
        yield None
        return
    rooms = RoomService(records, media)
    reviver = Reviver(rooms, clock)
    on_death.append(reviver.died)
    leader.add(Duty("rooms", _LOOK, rooms.reconcile_as_duty))
    counted.append(rooms.counts)
    async with background(reviver.run()):
        yield rooms
