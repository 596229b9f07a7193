"""The exact search agrees with trying all orders, and says no to what nothing explains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.state.models import Durability, Version
from tests.support.ledger import Acked, Line, Posted, Seen
from tests.support.linearizability import (
    End,
    Operation,
    Undecided,
    is_linearizable,
    operations_of,
    search,
    windows,
)

EMPTY = End(0)


def append(began: float, ended: float, key: str, seq: int) -> Operation:
    return Operation(began, ended, seq, key)


def unknown(began: float, key: str) -> Operation:
    return Operation(began, math.inf, None, key)


def read(began: float, ended: float, seq: int, last: str | None = None) -> Operation:
    return Operation(began, ended, seq, last=last)


GOOD = {
    "nothing": (),
    "one after the other": (append(0, 1, "a", 1), read(2, 3, 1, "a"), append(4, 5, "b", 2)),
    "the later one overtakes": (append(0, 5, "a", 2), append(1, 4, "b", 1)),
    "a read beside an append has it or not": (
        append(0, 5, "a", 1),
        read(1, 2, 0),
        read(3, 4, 1, "a"),
    ),
    "an unknown append took effect": (unknown(0, "a"), read(1, 2, 1, "a")),
    "an unknown append took effect much later": (
        unknown(0, "a"),
        append(1, 2, "b", 1),
        read(3, 4, 2, "a"),
    ),
    "an unknown append never took effect": (unknown(0, "a"), append(1, 2, "b", 1)),
    "a read looked at the number alone": (append(0, 1, "a", 1), read(2, 3, 1)),
}
BAD = {
    "a read lacks what was acked": (append(0, 1, "a", 1), read(2, 3, 0)),
    "a read has what was not begun": (read(0, 1, 1, "a"), append(2, 3, "a", 1)),
    "two appends got one number": (append(0, 5, "a", 1), append(0, 5, "b", 1)),
    "a number was left out": (append(0, 1, "a", 1), append(2, 3, "b", 3)),
    "the later one got the lower number": (append(0, 1, "a", 2), append(2, 3, "b", 1)),
    "reads go back": (append(0, 9, "a", 1), read(1, 2, 1, "a"), read(3, 4, 0)),
    "two reads differ on one number": (
        append(0, 9, "a", 1),
        unknown(0, "b"),
        read(1, 2, 1, "a"),
        read(1, 2, 1, "b"),
    ),
    "an unknown append took effect twice": (
        unknown(0, "a"),
        read(1, 2, 1, "a"),
        read(3, 4, 2, "a"),
    ),
}


@pytest.mark.parametrize("operations", GOOD.values(), ids=GOOD.keys())
def test_an_order_is_found(operations: Sequence[Operation]) -> None:
    assert is_linearizable(operations, EMPTY)


@pytest.mark.parametrize("operations", BAD.values(), ids=BAD.keys())
def test_what_no_order_explains_is_refused(operations: Sequence[Operation]) -> None:
    assert not is_linearizable(operations, EMPTY)


def explains(order: Sequence[Operation], start: End) -> bool:
    """Whether the answers are right in this very order."""
    log: list[str | None] = [start.last]
    for one in order:
        if one.key is not None:
            log.append(one.key)
        elif log[-1] is None:
            log[-1] = one.last
        number = (start.seq or 0) + len(log) - 1
        if one.seq not in (None, number) or (one.last is not None and one.last != log[-1]):
            return False
    return not any(
        later.ended < earlier.began
        for place, earlier in enumerate(order)
        for later in order[place + 1 :]
    )


def by_force(operations: Sequence[Operation], start: End) -> bool:
    """Try all orders, with every choice of unknown appends that took effect."""
    told = [one for one in operations if one.seq is not None]
    open_ended = [one for one in operations if one.seq is None]
    return any(
        explains(order, start)
        for count in range(len(open_ended) + 1)
        for taken in combinations(open_ended, count)
        for order in permutations([*told, *taken])
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Up to six operations, mostly nearly right: numbers are drawn around the true ones."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        began = draw(st.integers(0, 9))
        ended = began + draw(st.integers(0, 6))
        seq = draw(st.integers(0, 4))
        match draw(st.sampled_from(("append", "unknown", "read", "glance"))):
            case "append":
                found.append(append(began, ended, f"k{number}", seq))
            case "unknown":
                found.append(unknown(began, f"k{number}"))
            case "read":
                last = draw(st.sampled_from([f"k{n}" for n in range(6)]))
                found.append(read(began, ended, seq, last))
            case _:
                found.append(read(began, ended, seq))
    return found


@given(histories())
def test_the_search_agrees_with_trying_all_orders(operations: list[Operation]) -> None:
    assert is_linearizable(operations, EMPTY) == by_force(operations, EMPTY)


@st.composite
def executions(draw: st.DrawFn) -> list[Operation]:
    """What clients of a right log may be told: each takes effect at a moment of its own."""
    found: list[Operation] = []
    log: list[str] = []
    for moment in range(draw(st.integers(0, 40))):
        began = moment - draw(st.floats(0, 5))
        ended = moment + draw(st.floats(0, 5))
        match draw(st.sampled_from(("append", "append", "unknown", "never", "read"))):
            case "append":
                log.append(f"k{moment}")
                found.append(append(began, ended, log[-1], len(log)))
            case "unknown" if sum(one.seq is None for one in found) < 3:
                log.append(f"k{moment}")
                found.append(unknown(began, log[-1]))
            case "never" if sum(one.seq is None for one in found) < 3:
                found.append(unknown(began, f"k{moment}"))
            case _:
                found.append(read(began, ended, len(log), log[-1] if log else None))
    return found


@given(executions(), st.integers(2, 12))
def test_every_window_of_a_right_execution_is_explained(
    operations: list[Operation], most: int
) -> None:
    assert is_linearizable(operations, EMPTY)
    cut = list(windows(operations, most))
    assert sum(len(window) for _, window in cut) == len(operations)
    for start, window in cut:
        assert is_linearizable(window, start)


@given(executions())
def test_a_read_of_before_an_acked_append_is_never_explained(operations: list[Operation]) -> None:
    appends = [one for one in operations if one.key is not None and one.seq is not None]
    for one in appends:
        stale = read(one.ended + 1, one.ended + 2, (one.seq or 0) - 1)
        assert not is_linearizable([*operations, stale], EMPTY)


def test_a_long_history_is_cut_into_windows() -> None:
    quiet = [append(n, n + 0.5, f"k{n}", n + 1) for n in range(50)]
    assert [len(window) for _, window in windows(quiet)] == [1] * 50

    busy = [append(n, n + 3, f"k{n}", n + 1) for n in range(50)]
    cut = list(windows(busy, 12))
    assert max(len(window) for _, window in cut) == 12
    assert [start.seq for start, _ in cut] == [None, 12, 24, 36, 48]
    assert all(end.seq == window[-1].seq for (_, window), (end, _) in pairwise(cut)), (
        "a window begins where the one before it ends"
    )


def test_too_many_unknown_outcomes_are_given_up() -> None:
    lost = [unknown(0, f"k{n}") for n in range(18)]
    with pytest.raises(Undecided):
        is_linearizable([*lost, read(1, 2, 9, "none of them")], EMPTY)


C = "c-1"


def posted(key: str, at: float | None) -> Posted:
    return Posted(C, key, "ada", "text", at)


def acked(key: str, seq: int, at: float | None, durability: Durability | None = None) -> Acked:
    return Acked(C, key, Version(1, seq), at=at, durability=durability or Durability.LOGGED)


def seen(client: str, seq: int, began: float, stale: str | None = None) -> Seen:
    return Seen(client, C, Version(1, seq), began, began + 1, stale, last="a")


def test_a_ledger_s_operations_have_its_moments() -> None:
    ledger: list[Line] = [
        *(posted("a", 10), posted("b", 11), posted("c", None), posted("d", 12)),
        *(acked("a", 1, 13), acked("c", 2, 14), acked("d", 2, 15, Durability.BUFFERED)),
        *(seen("eve", 1, 20), seen("joe", 1, 20), seen("eve", 1, 20, "stale; age=9.0")),
    ]
    assert operations_of(ledger, fresh_within_s=2, at_once=("joe",)) == {
        C: [
            append(10, 13, "a", 1),
            read(18, 21, 1, "a"),
            read(20, 21, 1, "a"),
            unknown(11, "b"),
            unknown(12, "d"),
        ]
    }


def test_a_stale_read_is_found_in_its_window() -> None:
    ledger: list[Line] = [
        *(posted("a", 10), acked("a", 2, 11), posted("b", 12), acked("b", 3, 13)),
        seen("eve", 2, 14),
    ]
    assert search(ledger, fresh_within_s=2).unexplained == ()
    found = search(ledger, fresh_within_s=0.5)
    assert (found.windows, found.undecided) == (3, 0)
    (told,) = found.unexplained
    assert told.startswith("c-1: no order explains, from 3: [13.500..15.000] reads a at 2")
