"""A space in memory that several servers of one test share, as they would share Redis.

It holds what Redis holds for us: bodies with their heads, and per partition a counter, the kept
messages and the subscriptions. Messages are bytes here too; what is in them is the bus's business.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from src.state.errors import SharedTierUnavailable
from src.state.models import Version
from src.state.protocols import Snapshot
from src.state.tiers.keys import PARTITIONS

Delivery = tuple[int, bytes]
"""A partition and a message."""


@dataclass(slots=True)
class Cell:
    """One hash: the head that was announced, and the body if one was put."""

    head: Version
    expires: float
    """When it is forgotten, on the clock of whoever wrote it last."""
    snapshot: Snapshot | None = None


@dataclass(slots=True)
class Counter:
    """What numbers the messages of one partition."""

    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    n: int = 0
    kept: dict[int, bytes] = field(default_factory=dict)


def _counters() -> list[Counter]:
    return [Counter() for _ in range(PARTITIONS)]


def _run_id() -> str:
    return uuid.uuid4().hex


@dataclass(slots=True)
class MemorySpace:
    """Cells by (kind, id), counters by partition, and who listens."""

    available: bool = True
    """False: every trip fails before it arrives."""
    run_id: str = field(default_factory=_run_id)
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    armed_until: float = float("-inf")
    """Until when nobody has to give the cells their time to live anew."""
    counters: list[Counter] = field(default_factory=_counters)
    subscriptions: dict[asyncio.Queue[Delivery | None], None] = field(default_factory=dict)
    """In the order in which they were made, so that a run can be repeated exactly."""

    @asynccontextmanager
    async def trip(self) -> AsyncIterator[None]:
        """Go there and back: other tasks run meanwhile, as they do while a socket is waited for.

        Raises:
            SharedTierUnavailable: the space is switched off.
        """
        await asyncio.sleep(0)
        if not self.available:
            raise SharedTierUnavailable("the space in memory is switched off")
        yield
        await asyncio.sleep(0)

    def cell(self, kind: str, id: str, now: float) -> Cell | None:
        """Return a cell that has not expired."""
        cell = self.cells.get((kind, id))
        return None if cell is None or now >= cell.expires else cell

    def raise_head(self, kind: str, id: str, version: Version, now: float, ttl: float) -> Cell:
        """Note a version as announced and keep the cell for its time to live."""
        cell = self.cell(kind, id, now)
        if cell is None:
            cell = self.cells[kind, id] = Cell(version, 0.0)
        cell.head, cell.expires = max(cell.head, version), now + ttl
        return cell

    def clear(self) -> None:
        """Forget everything, as FLUSHALL does; subscriptions stand."""
        self.cells.clear()
        self.armed_until = float("-inf")
        self.renew()

    def renew(self) -> None:
        """Begin another life of every partition."""
        self.counters = _counters()

    def deliver(self, partition: int, message: bytes) -> None:
        """Give a message to all who listen."""
        for queue in self.subscriptions:
            queue.put_nowait((partition, message))

    def cut_subscriptions(self) -> None:
        """Break every subscription."""
        for queue in self.subscriptions:
            queue.put_nowait(None)

    def restart(self) -> None:
        """Come back as another process with the same data."""
        self.run_id = _run_id()
        self.cut_subscriptions()
