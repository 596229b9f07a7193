"""The server's shelf, for a room in a loop of its own."""

from __future__ import annotations

import asyncio

from src.agents.recording.shelf import Finished, Shelf
from src.agents.threads import in_loop


class KeptAtHome:
    """`Keeping` of one conversation."""

    def __init__(self, shelf: Shelf, home: asyncio.AbstractEventLoop, conversation_id: str) -> None:
        self._shelf, self._home, self._id = shelf, home, conversation_id

    async def left(self) -> int:
        return await in_loop(self._home, self._shelf.left(self._id))

    def put(self, finished: Finished) -> None:
        self._home.call_soon_threadsafe(self._shelf.put, finished)

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        self._home.call_soon_threadsafe(self._shelf.lost, room_id, seconds, why)
