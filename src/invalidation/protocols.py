"""The seams of this room: a bus that numbers, and whoever is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from src.invalidation.messages import Message
from src.state.models import Announcement


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a partition stands: its incarnation and the number of its newest message."""

    incarnation: str
    """`<life>:<run>`: of the numbers, and of the process that counts them."""
    n: int


class Bus(Protocol):
    """A numbered, capped, replayable broadcast per partition.

    Every method raises SharedTierUnavailable when the bus does not answer in time.
    """

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        """Raise heads, number and broadcast the changes: one message per partition concerned."""

    async def renew(self) -> None:
        """Begin another life of every partition: all who listen doubt what they and L2 hold."""

    async def positions(self) -> Sequence[Position]:
        """Return where each partition stands, in order of partition."""

    async def replay(self, partition: int, after: int, upto: int) -> Sequence[Message] | None:
        """Return the messages after < n <= upto; None when some are no longer kept."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Subscribe to all partitions; on entry the subscription is confirmed.

        The iterator ends with SharedTierUnavailable when the connection breaks.
        """


class Notices(Protocol):
    """The second way, through L3: not numbered, not kept, for while the bus is away.

    Both methods raise DurableTierUnavailable when PostgreSQL does not answer.
    """

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        """Tell all who listen now."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Listen; the iterator ends when the connection breaks."""


class Subscriber(Protocol):
    """Somebody with copies that may have become old: the stores, through one door."""

    def heard(self, change: Announcement) -> None:
        """A version exists: whatever is older is no answer from now on."""

    def doubt(self, partition: int | None) -> None:
        """Messages of this partition (None: of all) were missed: doubt what is not owned."""
