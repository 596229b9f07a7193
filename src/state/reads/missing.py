"""What was looked up and is not there: remembered for a moment, in L1 only."""

from __future__ import annotations

from src.state.buffers import Buffer
from src.state.protocols import Clock

_FOR_S = 1.0
_MOST = 10_000


class Missing:
    """Ids that the primary did not have a moment ago."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._until: dict[str, float] = {}
        self._left_out = 0

    def __contains__(self, id: str) -> bool:
        return self._monotonic() < self._until.get(id, 0.0)

    def add(self, id: str) -> None:
        """Remember an id; when there are too many, all others are forgotten."""
        if len(self._until) >= _MOST:
            self._left_out += len(self._until)
            self._until.clear()
        self._until[id] = self._monotonic() + _FOR_S

    def discard(self, id: str) -> None:
        """Forget an id: it exists."""
        self._until.pop(id, None)

    def clear(self) -> None:
        """Forget all."""
        self._until.clear()

    def buffer(self, kind: str) -> Buffer:
        return Buffer(len(self._until), _MOST, self._left_out, kind)
