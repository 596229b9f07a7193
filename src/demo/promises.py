"""The promises that the demonstration checks, and what was found of each."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Name(IntEnum):
    """The promises, in order of showing."""

    NOTHING_LOST = 1
    READ_ANYWHERE = 2
    TIERS = 3
    COLLAPSE = 4
    HOT_RELOAD = 5
    FENCED = 6
    SURVIVES_KILL = 7

    @property
    def title(self) -> str:
        """The promise in words."""
        return _TITLES[self]


_TITLES = {
    Name.NOTHING_LOST: "every acknowledged turn is in the log, once and in order",
    Name.READ_ANYWHERE: "a turn posted on one server is read on the other",
    Name.TIERS: "a read costs what its tier costs, and a stampede one load",
    Name.COLLAPSE: "50 rapid updates become one snapshot write",
    Name.HOT_RELOAD: "a bot edited on one server is obeyed on the other",
    Name.FENCED: "a paused owner cannot write after it was replaced",
    Name.SURVIVES_KILL: "kill -9 of the owner loses nothing, the other goes on",
}


class Guard(StrEnum):
    """The guards that `--sabotage` can switch off; see src/state/guards.py."""

    FLUSH = "flush"
    ANNOUNCE = "announce"
    EPOCH = "epoch"
    WATERMARK = "watermark"


KEPT_BY = {
    Guard.FLUSH: Name.COLLAPSE,
    Guard.ANNOUNCE: Name.READ_ANYWHERE,
    Guard.WATERMARK: Name.READ_ANYWHERE,
    Guard.EPOCH: Name.FENCED,
}
"""Which promise breaks when a guard is switched off."""


class Promise(msgspec.Struct, frozen=True, gc=False):
    """One promise after its check."""

    promise: Name
    kept: bool
    expected: str
    found: str


class Latency(msgspec.Struct, frozen=True, gc=False):
    """Reads that one tier answered, as counted from outside, and how long a client waited."""

    tier: str
    reads: int
    database_reads: int
    redis_commands: int
    p50_ms: float
    worst_ms: float


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """All that the demonstration found."""

    promises: tuple[Promise, ...]
    tiers: tuple[Latency, ...]
    figures: dict[str, float]

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)

    def as_json(self) -> bytes:
        """Return `{promises: [{number, name, kept, expected, found}], figures: {...}}`."""
        promises = [
            {
                "number": int(one.promise),
                "name": one.promise.title,
                "kept": one.kept,
                "expected": one.expected,
                "found": one.found,
            }
            for one in self.promises
        ]
        tiers = {one.tier: one for one in self.tiers}
        return msgspec.json.encode(
            {"kept": self.kept, "promises": promises, "figures": {**self.figures, "tiers": tiers}}
        )
