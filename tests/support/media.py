"""`Media` in memory: LiveKit's rooms without LiveKit, for tests that ask about everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from msgspec.structs import replace

from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import LiveRoom


@dataclass
class _Life:
    live: LiveRoom
    conversation_id: str
    dispatches: list[str] = field(default_factory=list)
    recorded: bool = False


class MemoryMedia:
    """Rooms that live until they are closed; `away` stands for a LiveKit that does not answer."""

    def __init__(self) -> None:
        self.away = False
        self.refuses_dispatch = False
        self.refused = 0
        """Calls that found it away."""
        self.gate = asyncio.Event()
        """Nobody sends while it is not set."""
        self.gate.set()
        self.looking = 0
        self.lives: dict[str, _Life] = {}
        self.sent: list[tuple[str, str]] = []
        """(room, conversation) of every dispatch that was made."""
        self._numbers = count(1)

    def begin(self, live: LiveRoom, conversation_id: str) -> None:
        """Have a room live that somebody else has begun."""
        self.lives[live.id] = _Life(live, conversation_id)

    async def open(self, room_id: str, conversation_id: str) -> LiveRoom:
        self._answer()
        if room_id not in self.lives:
            number = next(self._numbers)
            live = LiveRoom(room_id, f"RM_{number}", 1_000 * number, 0)
            self.lives[room_id] = _Life(live, conversation_id)
        self.lives[room_id].conversation_id = conversation_id
        return self.lives[room_id].live

    async def close(self, room_id: str) -> None:
        self._answer()
        self.lives.pop(room_id, None)

    async def recorded(self, room_id: str) -> bool:
        self._answer()
        return room_id in self.lives and self.lives[room_id].recorded

    async def list(self) -> Sequence[LiveRoom]:
        self._answer()
        return [life.live for life in self.lives.values()]

    def enter(self, room_id: str) -> None:
        """Have one more person in a room that lives."""
        life = self.lives[room_id]
        life.live = replace(life.live, people=life.live.people + 1)

    async def dispatched(self, room_id: str, *, anew: bool) -> str | None:
        self._answer()
        return next(iter(self.lives[room_id].dispatches), None)

    async def dispatch(
        self, room_id: str, conversation_id: str, *, anew: bool, lost: str = ""
    ) -> str:
        self._answer()
        if self.refuses_dispatch:
            raise MediaUnavailable("LiveKit does not answer; try again")
        life = self.lives[room_id]
        if lost:
            life.dispatches.clear()
        there = bool(life.dispatches)
        # As on LiveKit: whoever looks meanwhile sends a second one.
        self.looking += 1
        await self.gate.wait()
        if not there:
            life.dispatches.append(f"AD_{next(self._numbers)}")
            self.sent.append((room_id, conversation_id))
        return life.dispatches[0]

    def _answer(self) -> None:
        if self.away:
            self.refused += 1
            raise MediaUnavailable("LiveKit does not answer; try again")
