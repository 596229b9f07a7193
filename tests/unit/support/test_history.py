"""The judge of all proofs can say no: each kind of bad history is found, and only that."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from src.state.models import ZERO, Durability, Version
from tests.support.history import BESIDE, BUFFERED_WITHIN_S, Broken, Logged, check, speakers
from tests.support.ledger import (
    Acked,
    Away,
    Died,
    Line,
    Posted,
    Refused,
    Seen,
    Unknown,
    Unseen,
)

C = "c-1"


def turn(number: int, epoch: int, seq: int, *, conversation: str = C) -> Logged:
    return Logged(conversation, Version(epoch, seq), f"turn-{number}", "ada", f"text-{number}")


def posted(
    number: int, *, conversation: str = C, at: float | None = None, events: int = 1
) -> Posted:
    return Posted(conversation, f"turn-{number}", "ada", f"text-{number}", at, events)


def acked(
    number: int,
    epoch: int,
    seq: int,
    *,
    conversation: str = C,
    at: float | None = None,
    durability: Durability = Durability.LOGGED,
) -> Acked:
    version = Version(epoch, seq)
    return Acked(conversation, f"turn-{number}", version, at=at, durability=durability)


def seen(
    epoch: int,
    seq: int,
    began: float,
    *,
    client: str = "eve",
    stale: str | None = None,
    asked: Version | None = None,
    turns: int | None = None,
    last: str | None = None,
) -> Seen:
    version = Version(epoch, seq)
    return Seen(client, C, version, began, began + 0.1, stale, asked, turns, last)


OPEN = Logged(C, Version(1, 1), "open")
# Turn 3 was logged by the first owner, which died before its ack; the second owner repeated it.
LOG = (OPEN, turn(1, 1, 2), turn(2, 1, 3), turn(3, 1, 4), turn(4, 2, 5), turn(5, 2, 6))
LEDGER: tuple[Line, ...] = (
    *(posted(1), acked(1, 1, 2), posted(2), acked(2, 1, 3)),
    *(posted(3), acked(3, 1, 4), posted(4), acked(4, 2, 5), posted(5), acked(5, 2, 6)),
)
# The same with moments: turn n is posted at second 10 n and acked a second later.
TIMED: tuple[Line, ...] = tuple(
    replace(line, at=10.0 * int(line.key[5:]) + isinstance(line, Acked))
    for line in LEDGER
    if isinstance(line, Posted | Acked)
)


def without(lines: Sequence[Line], line: Line) -> tuple[Line, ...]:
    assert line in lines
    return tuple(one for one in lines if one != line)


def told(durability: Durability, *more: Line) -> tuple[Line, ...]:
    """All of LEDGER, and turns 6 and 7 acked from memory only."""
    return (
        *TIMED,
        *(posted(6, at=60), acked(6, 2, 6, at=61, durability=durability)),
        *(posted(7, at=62), acked(7, 2, 6, at=63, durability=durability)),
        *more,
    )


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


SWAPPED = renumbered((*LOG[:4], LOG[5], LOG[4]))
BUFFERED, PENDING = Durability.BUFFERED, Durability.PENDING
ALL_TOLD = (*LOG, turn(6, 2, 7), turn(7, 2, 8))

GOOD: dict[str, tuple[Sequence[Line], Sequence[Logged]]] = {
    "turns in flight together have no order": (
        (*LEDGER[:-4], posted(4), posted(5), acked(5, 2, 5), acked(4, 2, 6)),
        SWAPPED,
    ),
    "a turn of unknown outcome lands behind later ones": (
        (*LEDGER[:-4], posted(4), Unknown(C, "turn-4", 9), posted(5), acked(5, 2, 5)),
        SWAPPED,
    ),
    "a repetition is acked again at the same place": ((*LEDGER, acked(3, 1, 4)), LOG),
    "a turn that was refused is not there": ((*LEDGER, posted(6), Refused(C, "turn-6", "no")), LOG),
    "a command of two events": (
        (*LEDGER, posted(6, events=2), acked(6, 2, 8)),
        (*LOG, turn(6, 2, 7), replace(turn(6, 2, 8), text="more")),
    ),
    "buffered turns are logged": (told(BUFFERED), ALL_TOLD),
    "a buffered turn is acked again when it is logged": (
        (*told(BUFFERED), acked(6, 2, 7), acked(6, 2, 6, durability=BUFFERED)),
        ALL_TOLD,
    ),
    "a buffered turn went down with its owner": (
        told(BUFFERED, Died("A", 61 + BUFFERED_WITHIN_S)),
        LOG,
    ),
    "buffered turns whose moments nobody measured went down with an owner": (
        (*LEDGER, posted(6), acked(6, 2, 6, durability=BUFFERED), Died("A", 3)),
        LOG,
    ),
    "pending turns went down with their room's host": (told(PENDING, Died("A", 900, (C,))), LOG),
    "pending turns are logged behind later ones": (
        told(PENDING, posted(8), acked(8, 2, 7)),
        (*LOG, turn(8, 2, 7), turn(6, 2, 8), turn(7, 2, 9)),
    ),
    "a read shows the state at its version": (
        (*TIMED, seen(2, 6, 60, turns=5, last="turn-5")),
        LOG,
    ),
    "an empty conversation is shown": ((*TIMED[:1], seen(1, 1, 5, turns=0)), LOG[:1]),
    "nothing is found yet": ((seen(0, 0, 5, turns=0), *TIMED), LOG),
    "a fresh read lacks what was acked just now": (
        (*TIMED[:-1], acked(5, 2, 6, at=51), seen(2, 5, 52.9)),
        LOG,
    ),
    "a read that began in time ends long after": (
        (*TIMED, replace(seen(2, 5, 52.9), ended=70.0)),
        LOG,
    ),
    "a labelled read lacks what was acked long ago": (
        (*TIMED, seen(1, 2, 99, stale="stale; age=80.0")),
        LOG,
    ),
    "two clients see different versions": (
        (*TIMED, seen(2, 6, 51.5), seen(2, 5, 51.8, client="joe")),
        LOG,
    ),
    "one client's reads at the same time see different versions": (
        (*TIMED, seen(2, 6, 51.5), seen(2, 5, 51.55)),
        LOG,
    ),
    "an answer is newer than what was asked for": (
        (*TIMED, seen(2, 6, 60, asked=Version(2, 5))),
        LOG,
    ),
    "a turn posted before PostgreSQL went away is acked meanwhile": (
        (*TIMED, Away(50.5, 90)),
        LOG,
    ),
    "a turn posted while PostgreSQL was away is acked afterwards": (
        (*TIMED, Away(49, 50.9)),
        LOG,
    ),
    "a read that nobody could answer from a cache fails while PostgreSQL is away": (
        (*TIMED, Unseen("eve", C, 61, 62, "read_only"), Away(60, 70, ("c-9",))),
        LOG,
    ),
    "a read fails before PostgreSQL went away": (
        (*TIMED, Unseen("eve", C, 59, 62, "behind"), Away(60, 70, (C,))),
        LOG,
    ),
}


@pytest.mark.parametrize(("ledger", "log"), GOOD.values(), ids=GOOD.keys())
def test_a_good_history_is_good(ledger: Sequence[Line], log: Sequence[Logged]) -> None:
    assert list(map(str, check(ledger, log))) == []


BAD: dict[str, tuple[Sequence[Line], Sequence[Logged], set[Broken]]] = {
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
    "a turn overtook another that was acked before it was posted": (
        (*TIMED[:-2], posted(5, at=50), Unknown(C, "turn-5", 1)),
        (*LOG[:4], turn(5, 2, 5), turn(4, 2, 6)),
        {Broken.REORDERED, Broken.FORK},
    ),
    "buffered turns changed places": (
        told(BUFFERED),
        (*LOG, turn(7, 2, 7), turn(6, 2, 8)),
        {Broken.REORDERED},
    ),
    "one turn is acked at two places": (
        (*LEDGER, acked(3, 1, 5)),
        LOG,
        {Broken.FORK},
    ),
    "a buffered turn is in the log before what was logged when it was acked": (
        (posted(1), *LEDGER[2:4], acked(1, 1, 3, durability=BUFFERED)),
        LOG[:3],
        {Broken.FORK},
    ),
    "a buffered turn is gone and its owner lives": (told(BUFFERED), LOG, {Broken.LOST}),
    "a buffered turn is gone and another conversation's owner died": (
        told(BUFFERED, Died("B", 64, ("c-9",))),
        LOG,
        {Broken.LOST},
    ),
    "a buffered turn is gone that was posted after its owner died": (
        told(BUFFERED, Died("A", 59)),
        LOG,
        {Broken.LOST},
    ),
    "a buffered turn is gone with an owner that had all the time to log it": (
        told(BUFFERED, Died("A", 63.1 + BUFFERED_WITHIN_S)),
        LOG,
        {Broken.LOST},
    ),
    "a pending turn is gone and its host lives": (told(PENDING), LOG, {Broken.LOST}),
    "half a command is in the log": (
        (*LEDGER, posted(6, events=2), acked(6, 2, 7)),
        (*LOG, turn(6, 2, 7)),
        {Broken.TORN},
    ),
    "another command stands within one": (
        (*LEDGER, posted(6, events=2), posted(7), acked(7, 2, 8), acked(6, 2, 9)),
        (*LOG, turn(6, 2, 7), turn(7, 2, 8), turn(6, 2, 9)),
        {Broken.TORN},
    ),
    "a turn that was refused is in the log": (
        (*LEDGER, posted(6), Refused(C, "turn-6", "read_only")),
        (*LOG, turn(6, 2, 7)),
        {Broken.TAKEN},
    ),
    "an answer is of another branch": (
        (*TIMED[:6], seen(2, 4, 45)),
        LOG[:4],
        {Broken.UNLOGGED},
    ),
    "an answer is beyond the log": ((*TIMED, seen(2, 7, 60)), LOG, {Broken.UNLOGGED}),
    "an answer lacks a turn of its version": (
        (*TIMED, seen(2, 6, 60, turns=4)),
        LOG,
        {Broken.MISTOLD},
    ),
    "an answer ends with a turn that is not there yet": (
        (*TIMED, seen(2, 5, 45, turns=4, last="turn-5")),
        LOG,
        {Broken.MISTOLD},
    ),
    "a client is shown less than before": (
        (*TIMED, seen(2, 6, 51.2), seen(2, 5, 51.4)),
        LOG,
        {Broken.BACK},
    ),
    "a label does not excuse that a client is shown less than before": (
        (*TIMED, seen(2, 6, 51.2), seen(2, 5, 99, stale="stale; age=45.0")),
        LOG,
        {Broken.BACK},
    ),
    "a fresh answer lacks what was acked long ago": (
        (*TIMED, seen(2, 5, 53.1)),
        LOG,
        {Broken.STALE},
    ),
    "a conversation is not found long after its first turn": (
        (*TIMED, seen(0, 0, 60)),
        LOG,
        {Broken.STALE},
    ),
    "an answer is older than what was asked for": (
        (*TIMED, seen(2, 5, 51.4, asked=Version(2, 6))),
        LOG,
        {Broken.BEHIND},
    ),
    "a turn is acked as logged while PostgreSQL is away": (
        (*TIMED, Away(49.9, 51.1)),
        LOG,
        {Broken.LOGGED_NOWHERE},
    ),
    "a cached conversation cannot be read while PostgreSQL is away": (
        (*TIMED, Unseen("eve", C, 61, 62, "read_only"), Away(60, 70, (C,))),
        LOG,
        {Broken.UNREADABLE},
    ),
}


@pytest.mark.parametrize(("ledger", "log", "expected"), BAD.values(), ids=BAD.keys())
def test_a_bad_history_is_found(
    ledger: Sequence[Line], log: Sequence[Logged], expected: set[Broken]
) -> None:
    assert {violation.broken for violation in check(ledger, log)} == expected


def test_every_way_to_be_wrong_is_shown_here() -> None:
    shown = set[Broken]().union(*(expected for _, _, expected in BAD.values()))
    assert shown == set(Broken) - BESIDE


def test_a_violation_names_the_conversation_and_the_turn() -> None:
    (violation,) = check(LEDGER, LOG[:-1])
    assert str(violation).startswith("c-1: an acknowledged turn is not in the log")
    assert "turn-5" in str(violation)


def test_how_fresh_a_read_must_be_is_the_caller_s_to_say() -> None:
    history = (*TIMED, seen(2, 5, 52.0))
    assert check(history, LOG) == []
    (violation,) = check(history, LOG, fresh_within_s=0.5)
    assert violation.broken is Broken.STALE
    assert "1.000 s old" in violation.detail


def test_a_log_out_of_order_is_no_log() -> None:
    other = turn(1, 1, 1, conversation="c-2")
    with pytest.raises(ValueError, match="rows of c-1 came before"):
        check((), (*LOG[:2], other, *LOG[2:]))


def test_turns_are_counted_per_speaker() -> None:
    assert speakers(LOG) == {C: {"ada": 5}}


class Model:
    """One log and its clients, as they should be: every step of it is drawn."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._now = 0.0
        self._epoch = 1
        self.log: list[Logged] = []
        self.ledger: list[Line] = []
        self._on_the_way: list[Posted] = []
        self._unacked: dict[str, Posted] = {}
        self._places: dict[str, Version] = {}
        self._acks: list[tuple[float, Version]] = []
        self._shown: dict[str, Version] = {}

    def play(self, steps: int) -> None:
        actions = (self.post, self.commit, self.ack, self.give_up, self.read, self.take_over)
        for step in range(steps):
            self._now += self._chance.choice((0.01, 0.3, 1.0))
            self._chance.choice(actions)(step)

    def post(self, step: int) -> None:
        line = Posted(C, f"k{step}", "ada", f"t{step}", self._now)
        self.ledger.append(line)
        self._on_the_way.append(line)
        self._unacked[line.key] = line

    def commit(self, step: int) -> None:
        if self._on_the_way:
            line = self._on_the_way.pop(self._chance.randrange(len(self._on_the_way)))
            version = Version(self._epoch, len(self.log) + 1)
            self.log.append(Logged(C, version, line.key, line.speaker, line.text))
            self._places[line.key] = version

    def ack(self, step: int) -> None:
        ready = [key for key in self._unacked if key in self._places]
        if ready:
            key = self._chance.choice(ready)
            del self._unacked[key]
            self.ledger.append(Acked(C, key, self._places[key], at=self._now))
            self._acks.append((self._now, self._places[key]))

    def give_up(self, step: int) -> None:
        if self._unacked:
            key = self._chance.choice(list(self._unacked))
            del self._unacked[key]
            self.ledger.append(Unknown(C, key, 1))

    def take_over(self, step: int) -> None:
        self._epoch += self._chance.choice((0, 1, 1 << 32))

    def read(self, step: int) -> None:
        client = self._chance.choice(("eve", "joe"))
        stale = self._chance.random() < 0.2
        seen_before = self._shown.get(client, ZERO)
        due = [version for at, version in self._acks if at <= self._now - 2.0 and not stale]
        asked = self._chance.choice([None, *(version for _, version in self._acks)])
        at_least = max([seen_before, asked or ZERO, *due])
        version = self._chance.choice(
            [one for one in (ZERO, *(row.version for row in self.log)) if one >= at_least]
        )
        self._shown[client] = version
        began, self._now = self._now, self._now + 0.1
        last = None if version == ZERO else self.log[version.seq - 1].key
        label = "stale; age=9.0" if stale else None
        self.ledger.append(
            Seen(client, C, version, began, self._now, label, asked, version.seq, last)
        )


def played(chance: random.Random) -> Model:
    model = Model(chance)
    model.play(60)
    return model


@given(st.randoms(use_true_random=False))
def test_whatever_a_right_log_lets_happen_is_good(chance: random.Random) -> None:
    model = played(chance)
    assert list(map(str, check(model.ledger, model.log))) == []


def promised(lines: Iterable[Line]) -> set[str]:
    return {line.key for line in lines if isinstance(line, Acked)}


@given(st.randoms(use_true_random=False))
def test_no_acked_turn_can_be_taken_away_unnoticed(chance: random.Random) -> None:
    model = played(chance)
    for row in model.log:
        rest = renumbered([one for one in model.log if one is not row])
        found = {violation.broken for violation in check(model.ledger, rest)}
        assert (Broken.LOST in found) == (row.key in promised(model.ledger))


@given(st.randoms(use_true_random=False))
def test_no_turn_can_be_there_twice_unnoticed(chance: random.Random) -> None:
    model = played(chance)
    for row in model.log:
        again = replace(row, version=Version(model.log[-1].version.epoch, len(model.log) + 1))
        found = {violation.broken for violation in check(model.ledger, (*model.log, again))}
        assert Broken.DOUBLED in found


@given(st.randoms(use_true_random=False))
def test_no_answer_can_be_made_older_than_an_ack_allows_unnoticed(chance: random.Random) -> None:
    model = played(chance)
    for place, line in enumerate(model.ledger):
        if isinstance(line, Seen) and line.stale is None:
            due = [
                one.version
                for one in model.ledger
                if isinstance(one, Acked) and one.at is not None and one.at <= line.began - 2.0
            ]
            older = replace(line, version=ZERO, turns=0, last=None)
            bad = [*model.ledger[:place], older, *model.ledger[place + 1 :]]
            found = {violation.broken for violation in check(bad, model.log)}
            assert (Broken.STALE in found) == bool(due)
