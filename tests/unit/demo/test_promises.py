"""The outcome as people and machines get it."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import pytest

from src.demo.promises import ELSEWHERE, KEPT_BY, Guard, Latency, Name, Outcome, Promise
from src.state.guards import Guards
from tests.guards.table import guard_table

KEPT = Promise(Name.COLLAPSE, True, "1 write", "1 write")
BROKEN = Promise(Name.FENCED, False, "0 late events", "2 late events")


def test_one_broken_promise_breaks_the_outcome() -> None:
    assert Outcome((KEPT,), (), {}).kept
    assert not Outcome((KEPT, BROKEN), (), {}).kept


def test_json_has_a_row_per_promise_and_the_figures() -> None:
    latency = Latency("L1", 1000, 0, 0, 0.2, 3.0)
    told = msgspec.json.decode(Outcome((BROKEN,), (latency,), {"takeover_s": 6.1}).as_json())
    assert told["kept"] is False
    assert told["promises"] == [
        {
            "number": 6,
            "name": "a paused owner cannot write after it was replaced",
            "kept": False,
            "expected": "0 late events",
            "found": "2 late events",
        }
    ]
    assert told["figures"]["takeover_s"] == 6.1
    assert told["figures"]["tiers"]["L1"]["database_reads"] == 0


@pytest.mark.parametrize("name", Name)
def test_every_promise_has_a_title(name: Name) -> None:
    assert name.title


def test_every_guard_of_the_protocol_is_missed_here_or_by_a_test_that_is_named() -> None:
    assert {*Guard, *ELSEWHERE} == {field.name for field in fields(Guards)}
    tests = {(row.guard, row.test) for row in guard_table()}
    assert set(ELSEWHERE.items()) <= tests
    assert set(KEPT_BY) == set(Guard)
