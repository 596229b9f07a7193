"""Holds what clients were promised against what the log says.

Pure and linear in time: a ledger and the rows of the log go in, violations come out. Each names
the invariant it breaks; `tests/unit/support/test_history.py` shows each one a history that has it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

from src.state.models import Version
from tests.support.ledger import Acked, Line, Posted


class Broken(StrEnum):
    """How a history can be wrong."""

    LOST = "an acknowledged turn is not in the log (I1)"
    DOUBLED = "a turn is in the log more than once (I1)"
    FOREIGN = "the log has a turn that nobody posted"
    ALTERED = "a turn in the log differs from what was posted"
    HOLE = "seq is not dense (I2)"
    EPOCH_BACK = "an epoch is lower than the one before it (I3)"
    REORDERED = "turns are not in the order in which their client posted them"
    FORK = "an ack names another place than the log, or two acks name one place (I7)"


class Logged(msgspec.Struct, frozen=True, gc=False):
    """One row of the log. `speaker` and `text` (its digest) are empty unless it is a turn."""

    conversation: str
    version: Version
    key: str
    """Of the command that made it: the event's id without its index."""
    speaker: str = ""
    text: str = ""


class Violation(msgspec.Struct, frozen=True, gc=False):
    """One thing that should not be."""

    broken: Broken
    conversation: str
    detail: str

    def __str__(self) -> str:
        return f"{self.conversation}: {self.broken}: {self.detail}"


def check(ledger: Sequence[Line], log: Sequence[Logged]) -> list[Violation]:
    """Return all that is wrong; `log` in the order of (conversation, seq).

    Each conversation had one client, which posted a turn only after the one before it was acked or
    given up.
    """
    posted: dict[str, dict[str, Posted]] = defaultdict(dict)
    acked: dict[str, dict[str, Version]] = defaultdict(dict)
    rows: dict[str, list[Logged]] = defaultdict(list)
    for line in ledger:
        if isinstance(line, Posted):
            posted[line.conversation][line.key] = line
        elif isinstance(line, Acked):
            acked[line.conversation][line.key] = line.version
    for row in log:
        rows[row.conversation].append(row)
    found = []
    for conversation in sorted(posted.keys() | rows.keys()):
        for broken, detail in _one(posted[conversation], acked[conversation], rows[conversation]):
            found.append(Violation(broken, conversation, detail))
    return found


def _one(
    posted: Mapping[str, Posted], acked: Mapping[str, Version], rows: Sequence[Logged]
) -> Iterator[tuple[Broken, str]]:
    turns = [row for row in rows if row.speaker]
    yield from _numbers(rows)
    yield from _contents(posted, turns)
    yield from _order(list(posted), acked, turns)
    yield from _places(acked, turns)


def _numbers(rows: Sequence[Logged]) -> Iterator[tuple[Broken, str]]:
    for expected, row in enumerate(rows, start=1):
        if row.version.seq != expected:
            yield Broken.HOLE, f"seq {row.version.seq} where {expected} belongs"
            break
    for before, row in pairwise(rows):
        if row.version.epoch < before.version.epoch:
            yield Broken.EPOCH_BACK, f"{row.version.token} after {before.version.token}"


def _contents(
    posted: Mapping[str, Posted], turns: Sequence[Logged]
) -> Iterator[tuple[Broken, str]]:
    for key, times in Counter(row.key for row in turns).items():
        if times > 1:
            yield Broken.DOUBLED, f"{key} is there {times} times"
    for row in turns:
        original = posted.get(row.key)
        if original is None:
            yield Broken.FOREIGN, f"{row.key} at {row.version.token}"
        elif (original.speaker, original.text) != (row.speaker, row.text):
            yield Broken.ALTERED, f"{row.key} at {row.version.token}"


def _order(
    keys: Sequence[str], acked: Mapping[str, Version], turns: Sequence[Logged]
) -> Iterator[tuple[Broken, str]]:
    rank = {key: index for index, key in enumerate(keys)}
    known = [row for row in turns if row.key in rank]
    for before, row in pairwise(known):
        if rank[row.key] < rank[before.key]:
            yield Broken.REORDERED, f"{row.key} is in the log behind {before.key}"
    told = [(key, acked[key]) for key in keys if key in acked]
    for (before_key, before_version), (key, version) in pairwise(told):
        if version < before_version:
            yield (
                Broken.REORDERED,
                f"{key} was acked at {version.token} after {before_key} at {before_version.token}",
            )


def _places(acked: Mapping[str, Version], turns: Sequence[Logged]) -> Iterator[tuple[Broken, str]]:
    places: dict[str, list[Version]] = defaultdict(list)
    for row in turns:
        places[row.key].append(row.version)
    taken: dict[int, str] = {}
    for key, version in acked.items():
        if key not in places:
            yield Broken.LOST, f"{key}, acked at {version.token}"
        elif version not in places[key]:
            there = places[key][0].token
            yield Broken.FORK, f"{key} was acked at {version.token}, the log has it at {there}"
        if version.seq in taken:
            yield Broken.FORK, f"{key} and {taken[version.seq]} were both acked at {version.seq}"
        taken[version.seq] = key


def speakers(log: Sequence[Logged]) -> dict[str, Counter[str]]:
    """Return per conversation how many turns each speaker has in the log."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in log:
        if row.speaker:
            counts[row.conversation][row.speaker] += 1
    return counts
