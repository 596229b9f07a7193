"""The judge of all replays can say no: each kind of bad history is found, and only that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from src.state.models import Version
from tests.support.history import Broken, Logged, check, speakers
from tests.support.ledger import Acked, Line, Posted, Unknown

C = "c-1"


def turn(number: int, epoch: int, seq: int, *, conversation: str = C) -> Logged:
    return Logged(conversation, Version(epoch, seq), f"turn-{number}", "ada", f"text-{number}")


def posted(number: int, *, conversation: str = C) -> Posted:
    return Posted(conversation, f"turn-{number}", "ada", f"text-{number}")


def acked(number: int, epoch: int, seq: int, *, conversation: str = C) -> Acked:
    return Acked(conversation, f"turn-{number}", Version(epoch, seq))


OPEN = Logged(C, Version(1, 1), "open")
# Turn 3 was logged by the first owner, which died before its ack; the second owner repeated it.
LOG = (OPEN, turn(1, 1, 2), turn(2, 1, 3), turn(3, 1, 4), turn(4, 2, 5), turn(5, 2, 6))
LEDGER: tuple[Line, ...] = (
    *(posted(1), acked(1, 1, 2), posted(2), acked(2, 1, 3)),
    *(posted(3), acked(3, 1, 4), posted(4), acked(4, 2, 5), posted(5), acked(5, 2, 6)),
)


def without(lines: Sequence[Line], line: Line) -> tuple[Line, ...]:
    assert line in lines
    return tuple(one for one in lines if one != line)


def test_a_history_across_a_takeover_is_good() -> None:
    assert check(LEDGER, LOG) == []


def test_a_turn_of_unknown_outcome_may_be_there_or_not() -> None:
    unknown = (*without(LEDGER, acked(5, 2, 6)), Unknown(C, "turn-5", 9))
    assert check(unknown, LOG) == []
    assert check(unknown, LOG[:-1]) == []


def test_conversations_are_judged_apart() -> None:
    other: list[Line] = [posted(1, conversation="c-2"), acked(1, 7, 1, conversation="c-2")]
    assert check((*other, *LEDGER), (*LOG, turn(1, 7, 1, conversation="c-2"))) == []


def renumbered(rows: Sequence[Logged]) -> tuple[Logged, ...]:
    return tuple(
        replace(row, version=Version(row.version.epoch, seq)) for seq, row in enumerate(rows, 1)
    )


BAD = {
    "an acked turn is gone": (LEDGER, LOG[:-1], {Broken.LOST}),
    "nothing of a conversation is left": (LEDGER, (), {Broken.LOST}),
    "an acked turn is gone and its number taken by the next": (
        LEDGER,
        renumbered((*LOG[:3], *LOG[4:])),
        {Broken.LOST, Broken.FORK},
    ),
    "a turn was logged again under its own key": (
        LEDGER,
        (*LOG, turn(3, 2, 7)),
        {Broken.DOUBLED, Broken.REORDERED},
    ),
    "a turn was logged again under another key": (
        LEDGER,
        (*LOG, replace(turn(5, 2, 7), key="turn-5:1")),
        {Broken.FOREIGN},
    ),
    "two turns changed places": (
        LEDGER,
        renumbered((*LOG[:4], LOG[5], LOG[4])),
        {Broken.REORDERED, Broken.FORK},
    ),
    "two turns without an ack changed places": (
        without(without(LEDGER, acked(4, 2, 5)), acked(5, 2, 6)),
        renumbered((*LOG[:4], LOG[5], LOG[4])),
        {Broken.REORDERED},
    ),
    "acks go back although the log is in order": (
        (*without(LEDGER, acked(5, 2, 6)), acked(5, 1, 3)),
        LOG,
        {Broken.REORDERED, Broken.FORK},
    ),
    "two owners acked one place": (
        (*without(LEDGER, acked(5, 2, 6)), acked(5, 1, 5)),
        LOG,
        {Broken.REORDERED, Broken.FORK},
    ),
    "an ack names a lost branch": (
        (*without(LEDGER, acked(5, 2, 6)), acked(5, 3, 6)),
        LOG,
        {Broken.FORK},
    ),
    "an epoch goes back": (
        without(LEDGER, acked(5, 2, 6)),
        (*LOG[:5], turn(5, 1, 6)),
        {Broken.EPOCH_BACK},
    ),
    "a number is missing": (
        without(LEDGER, acked(5, 2, 6)),
        (*LOG[:5], turn(5, 2, 7)),
        {Broken.HOLE},
    ),
    "a number is there twice": (
        without(LEDGER, acked(5, 2, 6)),
        (*LOG[:5], turn(5, 2, 5)),
        {Broken.HOLE},
    ),
    "the first event is missing": (LEDGER, LOG[1:], {Broken.HOLE}),
    "a text was changed": (LEDGER, (*LOG[:5], replace(LOG[5], text="x")), {Broken.ALTERED}),
    "a turn went to another speaker": (
        LEDGER,
        (*LOG[:5], replace(LOG[5], speaker="bob")),
        {Broken.ALTERED},
    ),
    "a turn is there that nobody posted": (LEDGER, (*LOG, turn(6, 2, 7)), {Broken.FOREIGN}),
    "a conversation is there that nobody posted to": (
        LEDGER,
        (*LOG, turn(1, 1, 1, conversation="c-9")),
        {Broken.FOREIGN},
    ),
}


@pytest.mark.parametrize(("ledger", "log", "expected"), BAD.values(), ids=BAD.keys())
def test_a_bad_history_is_found(
    ledger: Sequence[Line], log: Sequence[Logged], expected: set[Broken]
) -> None:
    assert {violation.broken for violation in check(ledger, log)} == expected


def test_every_way_to_be_wrong_is_shown_here() -> None:
    assert set[Broken]().union(*(expected for _, _, expected in BAD.values())) == set(Broken)


def test_a_violation_names_the_conversation_and_the_turn() -> None:
    (violation,) = check(LEDGER, LOG[:-1])
    assert str(violation).startswith("c-1: an acknowledged turn is not in the log")
    assert "turn-5" in str(violation)


def test_turns_are_counted_per_speaker() -> None:
    assert speakers(LOG) == {C: {"ada": 5}}
