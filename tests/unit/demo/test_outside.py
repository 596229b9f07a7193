"""The checker that compares a client's ledger with the log: it has to see each kind of fault."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from src.demo.client import Acked
from src.demo.outside import Logged, faults

EPOCH = 1 << 32


def acked(key: str, seq: int, *, author: str = "zoe", text: str = "Hello.") -> Acked:
    return Acked("c", key, author, text, (EPOCH, seq), 0.0)


def row(key: str, seq: int, *, epoch: int = EPOCH, text: str = "Hello.") -> Logged:
    return Logged(epoch, seq, f"{key}:0", "message_added", text)


LEDGER = [acked("a", 2), acked("b", 3)]
LOG = [Logged(EPOCH, 1, "create:0", "created", ""), row("a", 2), row("b", 3)]


def test_a_log_that_has_every_acked_turn_is_without_fault() -> None:
    assert faults(LEDGER, LOG) == []


def test_turns_that_nobody_acknowledged_may_be_there() -> None:
    assert faults(LEDGER, [*LOG, row("unacked", 4)]) == []


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        (LOG[:2], "turn b is there 0 times"),
        ([*LOG, row("b", 4)], "turn b is there 2 times"),
        ([LOG[0], row("a", 2, text="Hallo."), LOG[2]], "turn a has another text"),
        ([LOG[0], LOG[1], replace(LOG[2], epoch=EPOCH + 1)], "turn b was acked as"),
        ([LOG[0], row("b", 2), row("a", 3)], "turn b of zoe is out of order"),
        ([LOG[1], LOG[2]], "gaps"),
        ([replace(LOG[0], epoch=EPOCH + 1), *LOG[1:]], "an older epoch follows a newer one"),
    ],
)
def test_a_fault_is_named(log: list[Logged], fault: str) -> None:
    assert any(fault in found for found in faults(LEDGER, log))


def test_turns_of_different_people_may_be_logged_in_any_order() -> None:
    ledger = [acked("a", 3), acked("b", 2, author="max")]
    log = [LOG[0], row("b", 2), row("a", 3)]
    assert faults(ledger, log) == []
