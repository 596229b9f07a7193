"""The sound of many on one clock. Pure: whoever uses it says what time it is, in samples.

Sound comes in pieces, in real time and without a break, silence too; but a process that was busy
takes some of them late, all at once. So where one belongs is told by those before it, and the
clock only corrects that: nothing is heard before it is said, and who is late all the time has lost
something.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

RATE = 24_000
"""Samples a second, of each channel: all that speech has, and what Opus takes as it is."""
CHANNELS = 2
SETTLED = 3 * RATE
"""So old sound is given away: what comes later than that is left out."""
_KEPT = 30 * RATE
"""Sound beyond what was given away that is held at most, 12 MiB of it."""
_EARLY = RATE // 20
"""A piece may seem to be said so much before it is heard: clocks, and pieces, are no finer."""
_LATE = RATE // 20
_OF_LATE = 40
"""So many pieces, none of which came at once with the one before, did not all wait."""

Samples = npt.NDArray[np.int16]


class Place:
    """Where the pieces of one source belong."""

    def __init__(self) -> None:
        self._end: int | None = None
        self._came = 0
        """When the last piece did."""
        self._late: deque[int] = deque(maxlen=_OF_LATE)

    def of(self, length: int, now: int) -> int:
        """Return where a piece begins that came at `now`, the last of it said just before."""
        latest = now - length
        end = latest if self._end is None else self._end
        if end - latest > _EARLY:
            # What came first had waited: all of it was said earlier than it seemed.
            end = latest
            self._late.clear()
        if now - self._came >= length // 2:
            # What waited comes all at once, and does not tell how late a piece is by itself.
            self._late.append(latest - end)
        self._came = now
        if len(self._late) == _OF_LATE and (lost := min(self._late)) > _LATE:
            end += lost
            self._late.clear()
        self._end = end + length
        return end


class Mix:
    """Sums what was heard at each moment, each channel for itself."""

    def __init__(self) -> None:
        self._given = 0
        self._sums = np.zeros((SETTLED, CHANNELS), dtype=np.int32)
        """From `_given` on."""

    def add(self, samples: Samples, at: int, channel: int) -> None:
        """Add a piece of sound; what was given away already, or is too far ahead, is left out."""
        start = at - self._given
        samples = samples[max(0, -start) : max(0, _KEPT - start)]
        if not len(samples):
            return
        start = max(0, start)
        lacking = start + len(samples) - len(self._sums)
        if lacking > 0:
            more = np.zeros((lacking + RATE, CHANNELS), dtype=np.int32)
            self._sums = np.concatenate((self._sums, more))
        self._sums[start : start + len(samples), channel] += samples

    def take(self, until: int) -> bytes:
        """Give away what was heard up to there: 16 bits, the channels beside each other."""
        count = max(0, until - self._given)
        known = self._sums[:count]
        taken = np.zeros((count, CHANNELS), dtype=np.int16)
        taken[: len(known)] = np.clip(known, -32_768, 32_767)
        self._given += count
        self._sums = self._sums[count:].copy()
        return taken.tobytes()
