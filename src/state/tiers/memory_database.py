"""A database in memory that several servers of one test share, as they would share PostgreSQL.

It holds rows and has no rules: the rules stand in `memory_log` and `memory_ownership`, beside the
real ones. Every method there is one trip to it and takes effect at one moment.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from src.state.errors import DurableTierUnavailable
from src.state.models import NO_PLACES, Announcement, Event, Places
from src.state.protocols import Snapshot


@dataclass(slots=True)
class Head:
    """An ownership row."""

    owner_id: str | None
    epoch: int
    seq: int = 0


@dataclass(slots=True)
class ServerRow:
    """A server process."""

    url: str
    beat: int = 0
    announces: bool = True
    dead: bool = False
    places: Places = NO_PLACES


@dataclass(slots=True)
class MemoryDatabase:
    """Rows by table."""

    available: bool = True
    """False: every trip fails before it arrives."""
    timeline: int = 1
    heads: dict[str, dict[str, Head]] = field(default_factory=lambda: defaultdict(dict))
    events: dict[str, dict[str, list[Event]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    snapshots: dict[str, dict[str, Snapshot]] = field(default_factory=lambda: defaultdict(dict))
    read_models: dict[str, dict[str, tuple[Any, ...]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    servers: dict[str, ServerRow] = field(default_factory=dict)
    outbox: list[Announcement] = field(default_factory=list)
    """Committed config changes; the first is at position 1."""
    quarantine: list[tuple[Event, str]] = field(default_factory=list)
    listeners: dict[asyncio.Queue[bytes | None], None] = field(default_factory=dict)
    """Who hears notifications, in the order in which they came; None ends a session."""

    @asynccontextmanager
    async def trip(self) -> AsyncIterator[None]:
        """Go there and back: other tasks run meanwhile, as they do while a socket is waited for.

        Raises:
            DurableTierUnavailable: the database is switched off.
        """
        await asyncio.sleep(0)
        if not self.available:
            raise DurableTierUnavailable("the database in memory is switched off")
        yield
        await asyncio.sleep(0)

    def notify(self, message: bytes) -> None:
        """Give a message to all who listen."""
        for queue in self.listeners:
            queue.put_nowait(message)

    def lives(self, server_id: str | None) -> bool:
        """Whether that server is registered and nobody declared it dead."""
        row = self.servers.get(server_id or "")
        return row is not None and not row.dead
