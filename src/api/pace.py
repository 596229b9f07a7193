"""How fast sound may come: hardly faster than it is spoken, or it would have to be kept."""

from __future__ import annotations

import time
from collections.abc import Callable

_AHEAD_S = 5.0
"""What may come at once, as after a stall of the network; nobody saves up more by being silent."""


class Pace:
    """Counts one person's sound against the time that it takes to speak it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spoken_at = float("-inf")
        """When all that came so far is spoken, at the pace of speech."""

    def takes(self, seconds: float) -> bool:
        """Say whether so much more may come now, and count it then."""
        now = self._clock()
        spoken_at = max(self._spoken_at, now) + seconds
        if spoken_at > now + _AHEAD_S:
            return False
        self._spoken_at = spoken_at
        return True
