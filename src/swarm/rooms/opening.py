"""Rooms on a server: the service for its edges, and the duty that looks after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from src.state.ownership.leader import Duty, Leader
from src.state.records.rooms import Rooms
from src.swarm.rooms.protocols import Media
from src.swarm.rooms.service import RoomService

_LOOK = timedelta(seconds=30)


def open_rooms(
    records: Rooms,
    media: Media | None,
    leader: Leader,
    counted: list[Callable[[], Mapping[str, float]]],
) -> RoomService | None:
    """Return the service and have the leader's duty done; None without a LiveKit.

    What the service counts goes to `counted`.
    """
    if media is None:
        return None
    rooms = RoomService(records, media)
    leader.add(Duty("rooms", _LOOK, rooms.reconcile_as_duty))
    counted.append(rooms.counts)
    return rooms
