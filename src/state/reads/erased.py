"""What was erased: no copy of it is an answer any more, whatever becomes of the stores."""

from __future__ import annotations

from cachetools import LRUCache

from src.state.buffers import Buffer

_MOST = 50_000


class Erased:
    """Ids of which every copy that is met is passed over.

    Ids are not used twice, so one that is here stays right. One that is pushed out was erased long
    ago: by then no tier has a copy from before.
    """

    def __init__(self) -> None:
        self._ids: LRUCache[str, None] = LRUCache(_MOST)
        self._left_out = 0

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        """Remember an id."""
        self._left_out += id not in self._ids and len(self._ids) >= _MOST
        self._ids[id] = None

    def buffer(self, kind: str) -> Buffer:
        return Buffer(len(self._ids), _MOST, self._left_out, kind)
