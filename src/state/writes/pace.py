"""How much one flush transaction takes: rows that double under pressure and halve when it fails."""

from __future__ import annotations

_ROW_S = 0.1 / 64
"""What a row takes until the first batch was timed: states of 8 KB on a busy core."""
_MOST_ROWS = 1024
"""More would keep one connection for too long."""
_MOST_BYTES = 4 << 20


class Pace:
    """Follows how fast the store takes rows."""

    def __init__(self, usual: int) -> None:
        self._usual = usual
        self._rows = usual
        self._row_s = _ROW_S

    def has_room(self, rows: int, size: int) -> bool:
        """Whether a transaction of so many rows and bytes, the last one included, may be sent.

        One row always may.
        """
        return rows <= 1 or (rows <= self._rows and size <= _MOST_BYTES)

    def ahead_s(self, rows: int) -> float:
        """Return how long so many rows will take; 0 when they fit into a usual transaction."""
        return rows * self._row_s if rows > self._usual else 0.0

    def went_well(self, rows: int, took_s: float, *, pressed: bool) -> None:
        """Time a transaction. It costs much by itself, so under pressure a few large ones do."""
        if rows >= self._usual:
            self._row_s = (3 * self._row_s + took_s / rows) / 4
        most = max(_MOST_ROWS, self._usual) if pressed else self._usual
        self._rows = min(2 * self._rows, most)

    def failed(self, rows: int) -> None:
        """Note that so many were not taken: too much, maybe, for the time a transaction has."""
        self._rows = max(1, rows // 2)
