"""What an act of the proof is: where it plays, what it does there, and what it brings back.

`tests/prove/acts/<topic>.py` has `ACTS`, a sequence of acts; `collect` finds them all. An act runs
in a process of its own, may take minutes, and says how it gets on.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

ACTS = Path(__file__).with_name("acts")


class Place:
    """Where an act plays: nothing else writes below `folder`, which is gone afterwards."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.tell = tell
        """Show a short line of progress; the newest one stands beside the act's name."""
        self.stop = asyncio.Event()
        """Set when the run is being ended. An act that looks at it may raise `Stopped`; one that
        does not is cancelled soon after."""


class Stopped(Exception):
    """The act ended early because its place told it to; it counts as not played."""


class Result(msgspec.Struct, frozen=True):
    """What an act counted, measured and found."""

    counts: Mapping[str, int] = {}
    """Summed over all acts. Those of `tests/prove/required.py` are held against what is required:
    acked_turns, kill_owner, kill_redis, kill_postgres, double, sigstop, flushall, old_dump, seeds;
    others (reads, operations, faults, ...) are only shown."""
    figures: Mapping[str, Sequence[float]] = {}
    """Measurements by name, which ends with the unit (takeover_s), joined over all acts."""
    steps: Mapping[str, int] = {}
    """Step of the protocol -> times that a fault struck at it, summed over all acts."""
    answers: Mapping[str, Mapping[str, int]] = {}
    """Operation of the API -> `<role> <status>` -> times that it answered so to a token of that
    role, summed over all acts."""
    violations: Sequence[str] = ()
    """What broke a promise; one is enough to fail the act."""
    notes: Sequence[str] = ()
    """What a reader of the report should know."""
    seed: int | None = None
    in_flight_min: int | None = None
    """Fewest turns in flight at any of its faults."""


class Act(msgspec.Struct, frozen=True):
    """One part of the proof, played alone or beside others."""

    name: str
    """Unique; also the name of its file of results."""
    kind: str
    """What `--only` takes: owner, redis, simulation, ..."""
    perform: Callable[[Place], Awaitable[Result]]
    """Play; raise for whatever kept the act from being played to its end."""
    about_s: float = 120.0
    """How long it takes, roughly: long ones begin first."""
    alone: bool = False
    """Plays with no other act beside it, since it measures time."""


def collect(folder: Path = ACTS, package: str = "tests.prove.acts") -> Sequence[Act]:
    """Return all acts of a folder's modules, in the order of their names.

    Raises:
        ValueError: two acts have one name, or a name is no file name.
    """
    found: dict[str, Act] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules([str(folder)])):
        acts: Sequence[Act] = importlib.import_module(f"{package}.{module}").ACTS
        for act in acts:
            if act.name in found or not act.name.replace("-", "").isalnum():
                raise ValueError(f"act {act.name!r} of {module}: names are unique, of a-z 0-9 -")
            found[act.name] = act
    return [found[name] for name in sorted(found)]
