"""The highest version this server has heard of, per id."""

from __future__ import annotations

from cachetools import LRUCache

from src.state.models import ZERO, Version


class Watermarks:
    """Bounded memory of versions heard of.

    When a mark is pushed out, `generation` moves on, so that a load which was under way then does
    not fill a cache with what the lost mark would have refused.
    """

    def __init__(self, max_entries: int = 50_000) -> None:
        self._marks: LRUCache[str, Version] = LRUCache(max_entries)
        self.generation = 0

    def __len__(self) -> int:
        return len(self._marks)

    def of(self, id: str) -> Version:
        """Return the mark of an id; (0, 0) when nothing was heard."""
        return self._marks.get(id, ZERO)

    def raise_to(self, id: str, version: Version) -> None:
        """Note a version; marks never go down."""
        if version > self.of(id):
            if id not in self._marks and len(self._marks) >= self._marks.maxsize:
                self.generation += 1
            self._marks[id] = version
