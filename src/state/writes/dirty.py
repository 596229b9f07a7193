"""What one aggregate has that is not flushed yet."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from src.state.models import Entry

S = TypeVar("S")


class Dirty(Generic[S]):
    """Unflushed changes: the newest entry, how much changed, since when, and who waits for it.

    `held` is what it counts in the account of bytes; `failures` how often it was tried alone
    without an answer. `first` decides when it is due and may be moved on; `since` may not.
    """

    __slots__ = (
        "bytes",
        "entry",
        "events",
        "failures",
        "first",
        "held",
        "last",
        "since",
        "waiters",
    )

    def __init__(self, entry: Entry[S], now: float) -> None:
        self.entry = entry
        self.events = self.bytes = self.held = self.failures = 0
        self.first = self.last = self.since = now
        self.waiters: list[asyncio.Future[None]] = []

    def join(self, newer: Dirty[S]) -> None:
        """Take over what came while this could not be written."""
        self.events += newer.events
        self.bytes += newer.bytes
        self.waiters += newer.waiters
        self.entry, self.last, self.held = newer.entry, newer.last, newer.held
