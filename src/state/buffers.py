"""What is bounded says so: how full it is, its bound, and what it left out. Shown as metrics."""

from __future__ import annotations

from typing import NamedTuple


class Buffer(NamedTuple):
    """One bounded collection, in its own unit: items or bytes."""

    size: int
    bound: int
    left_out: int = 0
    """Evicted, dropped or refused so far because it was full."""
    kind: str = ""
    """Of the states in it, where each kind has its own."""
