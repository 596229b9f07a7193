"""An exact search: is there one order of all operations that explains every answer?

The object is a log: an append takes the next number, a read tells the number and the key at its
end. Each operation took effect at one moment between its beginning and its end. The search is Wing
and Gong's (JPDC 17, 1993), with Lowe's memo of what was tried (CPE 29, 2017), which keeps it from
growing with the number of orders that lead to the same state. It knows nothing of epochs, of the
log's rows or of how `history.py` judges: two judges of different make.

A read without a promise to be of this moment begins `fresh_within_s` earlier than it was sent:
that is what freshness within two seconds means.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from src.state.models import Durability
from tests.support.history import FRESH_WITHIN_S
from tests.support.ledger import Acked, Line, Posted, Seen

WINDOW = 24
"""Operations that are searched at once."""
_TRIES = 50_000


class Undecided(Exception):
    """The search was given up: too many outcomes are unknown."""


class Operation(msgspec.Struct, frozen=True, gc=False):
    """An append (`key`) or a read (`last`), and what it was told."""

    began: float
    ended: float
    """Infinite for an append of unknown outcome: it may take effect at any time, or never."""
    seq: int | None
    """The number it was given or shown; None: unknown outcome."""
    key: str | None = None
    last: str | None = None
    """A read's key at the end of the log; None: not looked at."""


class End(msgspec.Struct, frozen=True, gc=False):
    """The end of the log; None fits everything."""

    seq: int | None = None
    last: str | None = None


def is_linearizable(operations: Sequence[Operation], start: End) -> bool:
    """Say whether an order explains all, from a log that ends with `start`.

    Raises:
        Undecided: too many orders are possible to try them all.
    """
    needed = sum(1 << n for n, one in enumerate(operations) if one.seq is not None)
    tried: set[tuple[int, End]] = set()
    ways = [(0, start)]
    while ways:
        done, end = ways.pop()
        if done & needed == needed:
            return True
        if (done, end) in tried:
            continue
        tried.add((done, end))
        if len(tried) > _TRIES:
            raise Undecided
        left = [n for n in range(len(operations)) if not done >> n & 1]
        before = min(operations[n].ended for n in left)
        following = [
            (done | 1 << n, after, operations[n].key is None)
            for n in left
            if operations[n].began <= before and (after := _after(end, operations[n])) is not None
        ]
        # A read changes nothing: to let it go first never spoils an order.
        reads = [way for way in following if way[2] and end.seq is not None]
        ways += [(mask, after) for mask, after, _ in (reads[:1] or following)]
    return False


def _after(end: End, one: Operation) -> End | None:
    """Return the log's end after an operation, None if it cannot have been told what it was."""
    if one.key is not None:
        number = one.seq if end.seq is None else end.seq + 1
        return End(number, one.key) if one.seq in (None, number) else None
    if end.seq not in (None, one.seq):
        return None
    if None not in (end.last, one.last) and end.last != one.last:
        return None
    return End(one.seq, one.last if end.last is None else end.last)


def operations_of(
    lines: Iterable[Line],
    *,
    fresh_within_s: float = FRESH_WITHIN_S,
    at_once: Collection[str] = (),
) -> dict[str, list[Operation]]:
    """Return each conversation's operations.

    `at_once` names the clients whose reads are promised to be of their moment: they send the
    highest version that anybody was told before they began. Labelled answers promise nothing and
    are left out, and so are turns without moments.
    """
    posted: dict[tuple[str, str], float] = {}
    found: dict[str, list[Operation]] = defaultdict(list)
    for line in lines:
        match line:
            case Posted() if line.at is not None:
                posted.setdefault((line.conversation, line.key), line.at)
            case Acked() if line.durability is Durability.LOGGED and line.at is not None:
                began = posted.pop((line.conversation, line.key), None)
                if began is not None:
                    one = Operation(began, line.at, line.version.seq, line.key)
                    found[line.conversation].append(one)
            case Seen() if line.stale is None:
                began = line.began - (0 if line.client in at_once else fresh_within_s)
                read = Operation(began, line.ended, line.version.seq, last=line.last)
                found[line.conversation].append(read)
    for (conversation, key), began in posted.items():
        found[conversation].append(Operation(began, math.inf, None, key))
    return found


def windows(
    operations: Sequence[Operation], most: int = WINDOW
) -> Iterator[tuple[End, list[Operation]]]:
    """Cut a history where nothing was in flight, and what is still longer than `most` by number.

    If an order explains the whole, the operations of consecutive numbers stand together in it: so
    they, and the operations between two quiet moments, have an order of their own. What has an
    unknown outcome is never quiet and has no number: it stays with all that came after it.
    """
    start = End()
    for piece in _between_quiet_moments(operations):
        if len(piece) <= most or any(one.seq is None for one in piece):
            yield start, piece
        else:
            yield from _by_number(start, piece, most)
        start = _end_of(start, piece)


def _between_quiet_moments(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    piece: list[Operation] = []
    ended = -math.inf
    for one in sorted(operations, key=lambda one: one.began):
        if piece and one.began > ended:
            yield piece
            piece = []
        piece.append(one)
        ended = max(ended, one.ended)
    if piece:
        yield piece


def _by_number(
    start: End, piece: Sequence[Operation], most: int
) -> Iterator[tuple[End, list[Operation]]]:
    ordered = sorted(piece, key=lambda one: (one.seq or 0, one.key is None))
    part: list[Operation] = []
    for one in ordered:
        if len(part) >= most and one.key is not None:
            yield start, part
            start, part = _end_of(start, part), []
        part.append(one)
    yield start, part


def _end_of(start: End, piece: Sequence[Operation]) -> End:
    """Return where a piece must have left the log, so that the next one can be judged alone."""
    if any(one.seq is None for one in piece):
        return End()
    last = max(piece, key=lambda one: (one.seq or 0, one.key is not None))
    return max((start, End(last.seq, last.key or last.last)), key=lambda end: end.seq or 0)


class Searched(msgspec.Struct, frozen=True, gc=False):
    """What the search in all windows of a ledger came to."""

    windows: int
    undecided: int
    unexplained: tuple[str, ...]
    """Those that no order explains."""


def search(
    lines: Iterable[Line],
    *,
    fresh_within_s: float = FRESH_WITHIN_S,
    at_once: Collection[str] = (),
    most: int = WINDOW,
) -> Searched:
    """Search all windows of a ledger that has every write of its conversations but the first."""
    bad: list[str] = []
    count = undecided = 0
    found = operations_of(lines, fresh_within_s=fresh_within_s, at_once=at_once)
    for conversation, operations in sorted(found.items()):
        for start, window in windows(operations, most):
            count += 1
            try:
                if not is_linearizable(window, start):
                    told = "; ".join(map(_told, window))
                    bad.append(f"{conversation}: no order explains, from {start.seq}: {told}")
            except Undecided:
                undecided += 1
    return Searched(count, undecided, tuple(bad))


def _told(one: Operation) -> str:
    what = f"reads {one.last}" if one.key is None else f"appends {one.key}"
    return f"[{one.began:.3f}..{one.ended:.3f}] {what} at {one.seq}"
