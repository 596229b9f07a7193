"""Holds what clients were promised and shown against what the log says.

Linear in time, and the ledger is read once, line by line: it and the rows of the log go in,
violations come out. Each names the invariant it breaks; `tests/unit/support/test_history.py` shows
each one a history that has it. No clocks of two machines are compared: all moments are the
recorder's.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby, pairwise

import msgspec

from src.state.models import ZERO, Durability, Version
from tests.support.ledger import Acked, Away, Died, Line, Posted, Refused, Seen, Unseen

FRESH_WITHIN_S = 2.0
"""An unlabelled read contains what was acked so long before it began (I6)."""
BUFFERED_WITHIN_S = 5.0
"""A buffered ack is in the log so long after it at the latest."""


class Broken(StrEnum):
    """How a history can be wrong."""

    LOST = "an acknowledged turn is not in the log (I1)"
    DOUBLED = "a turn is in the log more than once (I1)"
    TORN = "the events of one command are not in the log together (I1)"
    FOREIGN = "the log has a turn that nobody posted"
    ALTERED = "a turn in the log differs from what was posted"
    TAKEN = "a turn is in the log whose client was told that nothing was changed (I1)"
    HOLE = "seq is not dense (I2)"
    EPOCH_BACK = "an epoch is lower than the one before it (I3)"
    REORDERED = "a turn comes before another that was acked before it was posted"
    FORK = "an ack names another place than the log, or two acks name one place (I7)"
    UNLOGGED = "an answer names a version that the log does not have (I7)"
    MISTOLD = "an answer is not what the log makes of its version (I4)"
    BACK = "a client was shown an older version than before (I5)"
    STALE = "an unlabelled answer lacks what was acked long before (I6)"
    BEHIND = "an answer is older than the version that was asked for"
    LOGGED_NOWHERE = "a turn was acked as logged while PostgreSQL was away (I10)"
    UNREADABLE = "a cached conversation could not be read while PostgreSQL was away (I10)"
    UNLIKE = "a place that is at rest is not what the log makes of it (I4)"
    EVICTED = "the owner's answer lacks what it acked from memory (I8)"
    OLDER = "something older was put over something newer (I9)"
    UNTOLD = "a committed config was announced nowhere (I12)"


BESIDE = frozenset({Broken.UNLIKE, Broken.EVICTED, Broken.OLDER, Broken.UNTOLD})
"""What no history of clients shows: whoever looks into the places themselves says it."""


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


def check(
    ledger: Iterable[Line],
    log: Iterable[Logged],
    *,
    fresh_within_s: float = FRESH_WITHIN_S,
    buffered_within_s: float = BUFFERED_WITHIN_S,
) -> list[Violation]:
    """Return all that is wrong, by conversation.

    `ledger` in the order it was written, `log` in the order of (conversation, seq).
    """
    told = _Told(fresh_within_s, buffered_within_s)
    for line in ledger:
        told.take(line)
    for conversation, rows in groupby(log, key=lambda row: row.conversation):
        told.hold(conversation, list(rows))
    return told.verdict()


class _Turn:
    """A turn as its client knows it. `began` and `done` are line numbers of the ledger."""

    __slots__ = ("acked", "began", "done", "floor", "posted")

    def __init__(self, posted: Posted | None, began: int, floor: Version) -> None:
        self.posted, self.began, self.floor = posted, began, floor
        self.acked: Acked | None = None
        self.done = sys.maxsize


class _Highest:
    """The highest version known, by moment."""

    __slots__ = ("moments", "versions")

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.versions: list[Version] = []

    @property
    def now(self) -> Version:
        return self.versions[-1] if self.versions else ZERO

    def add(self, moment: float, version: Version) -> None:
        if version > self.now:
            # Lines of two writers may cross by a hair; to know later is to demand less.
            self.moments.append(max(moment, self.moments[-1]) if self.moments else moment)
            self.versions.append(version)

    def at(self, moment: float) -> Version:
        place = bisect_right(self.moments, moment)
        return self.versions[place - 1] if place else ZERO


class _Conversation:
    """What clients were told of one conversation."""

    __slots__ = ("highest", "refused", "shown", "timed", "turns")

    def __init__(self) -> None:
        self.turns: dict[str, _Turn] = {}
        self.refused: dict[str, str] = {}
        self.highest = ZERO
        """Of all acks so far."""
        self.timed = _Highest()
        """The same by moment."""
        self.shown: set[tuple[Version, int | None, str | None]] = set()


class _Told:
    """Takes the ledger line by line, then the log conversation by conversation."""

    def __init__(self, fresh_within_s: float, buffered_within_s: float) -> None:
        self._fresh_within_s, self._buffered_within_s = fresh_within_s, buffered_within_s
        self._number = 0
        self._conversations: dict[str, _Conversation] = defaultdict(_Conversation)
        self._seen: dict[tuple[str, str], _Highest] = defaultdict(_Highest)
        self._unseen: list[Unseen] = []
        self._deaths: list[Died] = []
        self._outages: list[Away] = []
        self._held: set[str] = set()
        self._found: list[Violation] = []

    def take(self, line: Line) -> None:
        self._number += 1
        match line:
            case Posted():
                one = self._conversations[line.conversation]
                one.turns.setdefault(line.key, _Turn(line, self._number, one.highest))
            case Acked():
                self._acked(line)
            case Seen():
                self._answered(line)
            case Refused():
                self._conversations[line.conversation].refused[line.key] = line.code
            case Unseen():
                self._unseen.append(line)
            case Died():
                self._deaths.append(line)
            case Away():
                self._outages.append(line)

    def hold(self, conversation: str, rows: Sequence[Logged]) -> None:
        """Compare what was told with the rows of the log.

        Raises:
            ValueError: the conversation's rows did not come together.
        """
        if conversation in self._held:
            raise ValueError(f"the log is not in order: rows of {conversation} came before")
        self._held.add(conversation)
        told = self._conversations[conversation]
        places: dict[str, list[Version]] = defaultdict(list)
        turns = [row for row in rows if row.speaker]
        for row in turns:
            places[row.key].append(row.version)
        for broken, detail in (
            *_numbers(rows),
            *_contents(told, turns, places),
            *_order(told.turns, turns),
            *self._promises(conversation, told, places),
            *_answers(told, rows),
        ):
            self._add(broken, conversation, detail)

    def verdict(self) -> list[Violation]:
        for conversation in self._conversations.keys() - self._held:
            self.hold(conversation, [])
        outages = [(away, frozenset(away.cached)) for away in self._outages]
        for line in self._unseen:
            if any(_within(line, away) and line.conversation in held for away, held in outages):
                detail = f"{line.client} got {line.code} at {line.began:.3f}"
                self._add(Broken.UNREADABLE, line.conversation, detail)
        return sorted(self._found, key=lambda one: one.conversation)

    def _add(self, broken: Broken, conversation: str, detail: str) -> None:
        self._found.append(Violation(broken, conversation, detail))

    def _acked(self, line: Acked) -> None:
        one = self._conversations[line.conversation]
        turn = one.turns.get(line.key)
        if turn is None:
            turn = one.turns[line.key] = _Turn(None, self._number, ZERO)
        before = turn.acked
        if before is not None and _is_logged(before):
            if _is_logged(line) and line.version != before.version:
                detail = f"{line.key} was acked at {before.version.token} and {line.version.token}"
                self._add(Broken.FORK, line.conversation, detail)
            return
        turn.acked, turn.done = line, min(turn.done, self._number)
        if line.version < turn.floor:
            detail = f"{line.key} at {line.version.token}, {turn.floor.token} was acked before it"
            self._add(Broken.REORDERED, line.conversation, detail)
        one.highest = max(one.highest, line.version)
        if line.at is not None and _is_logged(line):
            # A weaker ack may name a version that is logged and not acknowledged itself yet.
            one.timed.add(line.at, line.version)

    def _answered(self, line: Seen) -> None:
        one, version = self._conversations[line.conversation], line.version
        one.shown.add((version, line.turns, line.last))
        shown = f"{line.client} was shown {version.token} at {line.began:.3f}"
        seen = self._seen[line.client, line.conversation]
        if version < (before := seen.at(line.began)):
            self._add(Broken.BACK, line.conversation, f"{shown}, {before.token} before")
        seen.add(line.ended, version)
        if line.asked is not None and version < line.asked:
            self._add(Broken.BEHIND, line.conversation, f"{shown}, asked for {line.asked.token}")
        if line.stale is None:
            due = one.timed.at(line.began - self._fresh_within_s)
            if version < due:
                age = line.began - one.timed.moments[bisect_right(one.timed.versions, version)]
                detail = f"{shown}, {due.token} was acked; it lacks what is {age:.3f} s old"
                self._add(Broken.STALE, line.conversation, detail)

    def _promises(
        self, conversation: str, told: _Conversation, places: Mapping[str, Sequence[Version]]
    ) -> Iterator[tuple[Broken, str]]:
        taken: dict[int, str] = {}
        for key, turn in told.turns.items():
            acked = turn.acked
            if acked is None:
                continue
            version = acked.version
            there = places.get(key)
            if there is None:
                if _is_logged(acked) or not self._went_down(conversation, turn, acked):
                    yield Broken.LOST, f"{key}, acked {acked.durability} at {version.token}"
            elif not _is_logged(acked):
                # An earlier attempt may have been logged, without an answer that said so.
                if there[0] < version and acked.attempts == 1:
                    yield Broken.FORK, f"{key} is at {there[0].token}, before {version.token}"
            elif version not in there:
                yield Broken.FORK, f"{key} was acked at {version.token}, is at {there[0].token}"
            if not _is_logged(acked):
                continue
            if version.seq in taken:
                yield Broken.FORK, f"{key} and {taken[version.seq]} were acked at {version.seq}"
            taken[version.seq] = key
            if self._outages and self._was_away(turn, acked):
                yield Broken.LOGGED_NOWHERE, f"{key}, acked at {version.token}"

    def _went_down(self, conversation: str, turn: _Turn, acked: Acked) -> bool:
        """Whether a death excuses that an ack from memory came to nothing."""
        began = turn.posted.at if turn.posted is not None else None
        for died in self._deaths:
            if died.held and conversation not in died.held:
                continue
            if began is not None and died.at < began:
                continue
            in_time = acked.at is None or died.at <= acked.at + self._buffered_within_s
            if in_time or acked.durability is Durability.PENDING:
                return True
        return False

    def _was_away(self, turn: _Turn, acked: Acked) -> bool:
        if turn.posted is None or turn.posted.at is None or acked.at is None:
            return False
        began, ended = turn.posted.at, acked.at
        return any(away.began < began and ended < away.ended for away in self._outages)


def _is_logged(acked: Acked) -> bool:
    return acked.durability is Durability.LOGGED


def _within(line: Unseen, away: Away) -> bool:
    return away.began < line.began and line.ended < away.ended


def _numbers(rows: Sequence[Logged]) -> Iterator[tuple[Broken, str]]:
    for expected, row in enumerate(rows, start=1):
        if row.version.seq != expected:
            yield Broken.HOLE, f"seq {row.version.seq} where {expected} belongs"
            break
    for before, row in pairwise(rows):
        if row.version.epoch < before.version.epoch:
            yield Broken.EPOCH_BACK, f"{row.version.token} after {before.version.token}"


def _contents(
    told: _Conversation, turns: Sequence[Logged], places: Mapping[str, Sequence[Version]]
) -> Iterator[tuple[Broken, str]]:
    for key, there in places.items():
        turn = told.turns.get(key)
        if turn is None or turn.posted is None:
            yield Broken.FOREIGN, f"{key} at {there[0].token}"
            continue
        if len(there) > turn.posted.events:
            yield Broken.DOUBLED, f"{key} is there {len(there)} times"
        elif len(there) < turn.posted.events:
            yield Broken.TORN, f"{key} has {len(there)} of {turn.posted.events} events"
        elif there[-1].seq - there[0].seq >= turn.posted.events:
            yield Broken.TORN, f"{key} is from {there[0].token} to {there[-1].token}"
        if key in told.refused:
            yield Broken.TAKEN, f"{key} at {there[0].token}, refused with {told.refused[key]}"
    first: set[str] = set()
    for row in turns:
        turn = told.turns.get(row.key)
        if turn is None or turn.posted is None or (turn.posted.events > 1 and row.key in first):
            continue
        first.add(row.key)
        if (turn.posted.speaker, turn.posted.text) != (row.speaker, row.text):
            yield Broken.ALTERED, f"{row.key} at {row.version.token}"


def _order(told: Mapping[str, _Turn], turns: Sequence[Logged]) -> Iterator[tuple[Broken, str]]:
    """Whoever was acked before another was posted is in the log before it.

    A pending turn waits in its room for PostgreSQL and is promised no place.
    """
    latest, behind = 0, ""
    for row in turns:
        turn = told.get(row.key)
        if turn is None:
            continue
        pending = turn.acked is not None and turn.acked.durability is Durability.PENDING
        if turn.done < latest and not pending:
            yield Broken.REORDERED, f"{row.key} is in the log behind {behind}"
        if turn.began > latest:
            latest, behind = turn.began, row.key


def _answers(told: _Conversation, rows: Sequence[Logged]) -> Iterator[tuple[Broken, str]]:
    """Every version that was shown is in the log, and so is what was shown of it."""
    if not told.shown:
        return
    versions: dict[Version, tuple[int, str | None]] = {ZERO: (0, None)}
    count, last = 0, None
    for row in rows:
        if row.speaker:
            count, last = count + 1, row.key
        versions[row.version] = (count, last)
    for version, turns, newest in told.shown:
        if version not in versions:
            yield Broken.UNLOGGED, version.token
            continue
        count, last = versions[version]
        if turns is not None and turns != count:
            yield Broken.MISTOLD, f"{turns} turns at {version.token}, the log has {count}"
        if newest is not None and newest != last:
            yield Broken.MISTOLD, f"{newest} is the newest at {version.token}, in the log {last}"


def speakers(log: Iterable[Logged]) -> dict[str, Counter[str]]:
    """Return per conversation how many turns each speaker has in the log."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in log:
        if row.speaker:
            counts[row.conversation][row.speaker] += 1
    return counts
