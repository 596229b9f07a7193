"""What this server holds of what others may change: told here, heard everywhere below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.state.models import Announcement
from src.state.reads.store import Store
from src.state.records.people import People
from src.state.tiers.keys import partition_of
from src.swarm.feed import Feed


class Copies:
    """`Subscriber`: every store of this server, behind one door."""

    def __init__(self, stores: Mapping[str, Store[Any]], feed: Feed, people: People) -> None:
        self._stores = stores
        self._feed = feed
        self._revocations = people.revocations

    def heard(self, change: Announcement) -> None:
        store = self._stores.get(change.kind)
        if store is not None:
            store.invalidate(change.id, change.version)
        else:
            self._revocations.heard(change)

    def doubt(self, partition: int | None) -> None:
        for store in self._stores.values():
            store.clear(lambda name: partition is None or partition_of(name) == partition)
        self._feed.doubt()
        self._revocations.doubt()
