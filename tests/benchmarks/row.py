"""What a row of the table is: a path of ours, what it is held against, and the target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

import msgspec

from tests.benchmarks.lab import Lab

Unit = Literal["s", "/s", "B", ""]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One round: our figure and, measured right beside it, the other one."""

    ours: float
    against: float | None = None
    note: str = ""


class Target(msgspec.Struct, frozen=True, gc=False):
    """Bounds; the ones that are given must all hold. The ratio is always ours / against."""

    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    at_most: float | None = None
    """Of our own figure, in the row's unit."""

    def holds(self, ours: float, ratio: float | None) -> bool:
        if self.at_most is not None and not ours <= self.at_most:
            return False
        if self.ratio_at_most is not None and not (ratio or math.inf) <= self.ratio_at_most:
            return False
        return self.ratio_at_least is None or (ratio or 0.0) >= self.ratio_at_least

    def text(self, unit: Unit) -> str:
        bounds = []
        if self.ratio_at_most is not None:
            bounds.append(f"<= {self.ratio_at_most:g}x")
        if self.ratio_at_least is not None:
            bounds.append(f">= {self.ratio_at_least:g}x")
        if self.at_most is not None:
            bounds.append(f"<= {figure(self.at_most, unit)}")
        return ", ".join(bounds)


Round = Callable[[], Awaitable[Sample]]
Open = Callable[[Lab], AbstractAsyncContextManager[Round]]


class Row(msgspec.Struct, frozen=True, gc=False):
    """One line of the table and how to measure it."""

    name: str
    path: str
    against: str
    unit: Unit
    target: Target
    rounds: int
    """At most this many rounds, since some of them take seconds."""
    open: Open


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """A row after its rounds."""

    row: Row
    samples: tuple[Sample, ...]

    @property
    def ours(self) -> float:
        return statistics.median(sample.ours for sample in self.samples)

    @property
    def against(self) -> float | None:
        figures = [sample.against for sample in self.samples if sample.against is not None]
        return statistics.median(figures) if figures else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios of the rounds: what slows a round slows both sides of it."""
        ratios = [s.ours / s.against for s in self.samples if s.against]
        return statistics.median(ratios) if ratios else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest ratio of a round."""
        ratios = [s.ours / s.against for s in self.samples if s.against]
        return (min(ratios), max(ratios)) if ratios else None

    @property
    def holds(self) -> bool:
        return self.row.target.holds(self.ours, self.ratio)

    @property
    def note(self) -> str:
        return self.samples[-1].note


ROWS: list[Row] = []


def row(
    name: str, *, path: str, against: str, unit: Unit, target: Target, rounds: int = 99
) -> Callable[[Open], Open]:
    """Register what it decorates: opens the row's subjects and gives the round."""

    def register(open_row: Open) -> Open:
        ROWS.append(Row(name, path, against, unit, target, rounds, open_row))
        return open_row

    return register


def quantile(figures: Sequence[float], share: float) -> float:
    """Return the smallest figure that at least `share` of them do not exceed."""
    ordered = sorted(figures)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figure(value: float, unit: Unit) -> str:
    """Write a figure for people: three digits, with its unit."""
    if unit == "s":
        for factor, name in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
            if value * factor < 999.5:
                return f"{value * factor:.3g} {name}"
        return f"{value:.3g} s"
    if unit in ("/s", "B"):
        return f"{value:,.0f}{'/s' if unit == '/s' else ' B'}"
    return f"{value:.3g}"
