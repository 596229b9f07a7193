"""Backpressure: how hard a server is pressed by what it still has to write, and what follows.

Green: nothing. Amber: flushes come at once and grow, and whoever writes waits until that change is
flushed, so writers slow down to what PostgreSQL takes. Red: nothing new is taken, and the refusal
says how long the rest will take. Two measures decide: how late the oldest change is, counted from
when it had to be flushed, and the bytes of all that is dirty, buffered or waiting for the log.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import structlog

from src.state.errors import Overloaded
from src.state.protocols import Clock
from src.state.settings import StateSettings

log = structlog.get_logger(__name__)

_LEFT_AT = 0.75
_UNTIMED_S = 2.0
"""Retry-After as long as no flush was timed."""
_LONGEST_S = 30.0


class Colour(StrEnum):
    """How hard a server is pressed."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"

    @property
    def level(self) -> int:
        """0, 1 or 2, for gauges."""
        return ("green", "amber", "red").index(self)


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Where amber and red begin."""

    amber_late_s: float
    red_late_s: float
    amber_bytes: int
    red_bytes: int


def next_colour(before: Colour, late_s: float, held: int, limits: Limits) -> Colour:
    """Return the colour at this lateness and these bytes.

    A colour is entered at its limit and left at three quarters of it, by both measures: a load that
    stands at a limit does not make it flap.
    """
    amber = max(late_s / limits.amber_late_s, held / limits.amber_bytes)
    red = max(late_s / limits.red_late_s, held / limits.red_bytes)
    if red >= (_LEFT_AT if before is Colour.RED else 1.0):
        return Colour.RED
    if amber >= (1.0 if before is Colour.GREEN else _LEFT_AT):
        return Colour.AMBER
    return Colour.GREEN


class Pressure:
    """The account of what one kind on one server has still to write, and the colour of that.

    Whoever holds something unwritten adds it to `held` and takes it off again; the write-behind
    buffer keeps `due_by`.
    """

    def __init__(self, settings: StateSettings, clock: Clock) -> None:
        self._clock = clock
        self.limits = Limits(
            settings.amber_late.total_seconds(),
            settings.red_late.total_seconds(),
            settings.amber_bytes,
            settings.red_bytes,
        )
        self._amber_late_s = self.limits.amber_late_s
        self._amber_bytes = self.limits.amber_bytes
        self.held = 0
        """Bytes dirty, buffered, or waiting for the log."""
        self.due_by = float("inf")
        """When the oldest change has to be flushed at the latest."""
        self.colour = Colour.GREEN
        self.refused = 0
        """Commands sent away with `overloaded`."""
        self.slowed = 0
        """Acks that waited for a flush."""
        self._bytes_per_s = 0.0

    @property
    def pressed(self) -> bool:
        """Whether it is amber or red."""
        return self.colour is not Colour.GREEN

    def see(self) -> Colour:
        """Look at both measures; return the colour."""
        before, late_s = self.colour, self._clock.monotonic() - self.due_by
        if before is Colour.GREEN and late_s < self._amber_late_s and self.held < self._amber_bytes:
            # Every command comes by here.
            return before
        self.colour = next_colour(before, late_s, self.held, self.limits)
        if self.colour is not before:
            log.warning(
                "pressure.changed",
                colour=self.colour.value,
                before=before.value,
                late_s=round(max(late_s, 0.0), 1),
                held_bytes=self.held,
            )
        return self.colour

    def admit(self, more: int) -> None:
        """Let a command in that adds that many bytes.

        Raises:
            Overloaded: it is red, or there would be more than the bound.
        """
        if self.see() is not Colour.RED and self.held + more <= self.limits.red_bytes:
            return
        self.refused += 1
        late_s = max(0.0, self._clock.monotonic() - self.due_by)
        raise Overloaded(
            f"{self.held} bytes wait to be written, the oldest of them {late_s:.0f} s late",
            self.retry_after_s(),
        )

    def flushed(self, size: int, took_s: float) -> None:
        """Time a flush of that many bytes."""
        rate = size / max(took_s, 1e-3)
        self._bytes_per_s = (3 * self._bytes_per_s + rate) / 4 if self._bytes_per_s else rate

    def retry_after_s(self) -> float:
        """Return how long it takes to leave red at the pace of the last flushes: 1 to 30 s."""
        if not self._bytes_per_s:
            return _UNTIMED_S
        # What is too late may be all there is; of what is too much only the surplus must go.
        late_s = self._clock.monotonic() - self.due_by
        late = late_s >= _LEFT_AT * self.limits.red_late_s
        surplus = self.held if late else self.held - _LEFT_AT * self.limits.red_bytes
        return min(max(surplus / self._bytes_per_s, 1.0), _LONGEST_S)
