"""The highest version this server has heard of, per id."""

from __future__ import annotations

from cachetools import LRUCache

from src.state.buffers import Buffer
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

    def buffer(self, kind: str) -> Buffer:
        return Buffer(len(self._marks), int(self._marks.maxsize), self.generation, kind)

    def of(self, id: str) -> Version:
        """Return the mark of an id; (0, 0) when nothing was heard."""
        return self._marks.get(id, ZERO)

    def all(self) -> list[tuple[str, Version]]:
        """Return every id with its mark."""
        return list(self._marks.items())

    def clear(self) -> None:
        """Forget everything: the versions were of a history that may not be the present one."""
        self.generation += 1
        self._marks.clear()

    def raise_to(self, id: str, version: Version) -> Version | None:
        """Note a version; marks never go down.

        Returns the mark that it replaces if that is of an earlier timeline of PostgreSQL: then it
        may be of a branch that was lost.
        """
        known = self.of(id)
        if version > known:
            if id not in self._marks and len(self._marks) >= self._marks.maxsize:
                self.generation += 1
            self._marks[id] = version
            if known is not ZERO and known.epoch >> 32 != version.epoch >> 32:
                return known
        return None
