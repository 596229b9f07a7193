"""What this server holds of what others may change: told here, heard everywhere below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from src.state.background import background
from src.state.models import Announcement
from src.state.reads.store import Store
from src.state.records.erasures import ERASED
from src.state.records.people import People
from src.state.tiers.keys import partition_of
from src.swarm.feed import Feed
from src.swarm.rules.conversations import CONVERSATIONS


class Copies:
    """`Subscriber`: every store of this server, behind one door."""

    def __init__(self, stores: Mapping[str, Store[Any]], feed: Feed, people: People) -> None:
        self._stores = stores
        self._feed = feed
        self._revocations = people.revocations

    def heard(self, change: Announcement) -> None:
        store = self._stores.get(change.kind)
        if change.kind == ERASED:
            self._stores[CONVERSATIONS.name].erase(change.id)
            self._feed.erased(change.id)
        elif store is not None:
            store.invalidate(change.id, change.version)
        else:
            self._revocations.heard(change)

    def doubt(self, partition: int | None) -> None:
        for store in self._stores.values():
            store.clear(lambda name: partition is None or partition_of(name) == partition)
        self._feed.doubt()
        self._revocations.doubt()


@asynccontextmanager
async def filling(stores: Mapping[str, Store[Any]]) -> AsyncIterator[None]:
    """Have L2 filled with what these stores load, for the length of the block; then close them."""
    async with background(*(store.fills.run() for store in stores.values())):
        try:
            yield
        finally:
            for store in stores.values():
                await store.aclose()
