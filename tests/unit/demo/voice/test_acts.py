"""What is found wrong with a conversation of which it is known who said what."""

from __future__ import annotations

from typing import Any

import pytest

from src.demo.voice.acts import faults

SAID = [("zoe", "Hello"), ("max", "Good morning")]


def turn(
    id: str, author: str, text: str, *, to: str | None = None, began: str = "T1", ended: str = "T2"
) -> dict[str, Any]:
    kind = "person" if to is None else "bot"
    shown = {"id": id, "author": {"kind": kind, "id": author}, "text": text}
    return {**shown, "started_at": began, "ended_at": ended, **({"reply_to": to} if to else {})}


ZOE, MAX = turn("1", "zoe", "Hello"), turn("3", "max", "Good morning")
ADA = turn("2", "ada", "Hello, Zoe", to="1")


def test_conversation_of_what_was_said_and_answered_has_no_fault() -> None:
    assert faults(SAID, [ZOE, ADA, MAX]) == []


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ([ZOE, ADA], "max's 'Good morning' is not there"),
        ([ZOE, ADA, ZOE, MAX], "zoe's 'Hello' is there too often"),
        ([MAX, ZOE, ADA], "turns are in another order"),
        ([ZOE, ADA, ADA, MAX], "ada answered one turn 2 times"),
        ([ZOE, MAX, turn("4", "ada", "Hm", to="9")], "an answer of ada belongs to no turn"),
        (
            [turn("1", "zoe", "Hello", began="T2", ended="T1"), MAX],
            "zoe's 'Hello' ended before it began",
        ),
    ],
)
def test_fault_is_named(turns: list[dict[str, Any]], fault: str) -> None:
    assert faults(SAID, turns) == [fault]
