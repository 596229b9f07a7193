"""What a session was is counted from its turns, and told by its first and last words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from src.state.records.finalised import Ended
from src.swarm.rooms.summary import belongs, counted, extract, id_of, precedes, summary_of
from src.swarm.shapes import bounds
from src.swarm.shapes.models import Author, AuthorKind, Message
from src.swarm.shapes.sessions import Talk
from tests.unit.swarm.given import raw

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDED = Ended("r-1", int(BEGAN.timestamp() * 1000), "c-1", BEGAN + timedelta(minutes=4, seconds=10))
ROLES = {"person": "user", "bot": "assistant", "system": "system"}


def turn(who: str, text: str, at_s: float, took_s: float = 2.0, **fields: object) -> Message:
    kind: AuthorKind = "bot" if who == "scout" else "person"
    at = BEGAN + timedelta(seconds=at_s)
    author = Author(kind, who, who.title())
    given = (f"m-{at_s}", author, ROLES[kind], text, at, at + timedelta(seconds=took_s))
    return Message(*given, **fields)  # type: ignore[arg-type]  # by name in tests


TURNS = (
    turn("ada", "Where shall we meet?", 1),
    turn("scout", "In hall three, I think", 4, 3.0, interrupted=True, spoken_until=13),
    turn("ada", "No.", 8, 1.0, metrics=raw({"total_tokens": 7})),
)


def test_a_summary_counts_what_was_said_and_heard() -> None:
    session = summary_of(ENDED, TURNS, {"scout": "openai/gpt-x", "tutor": "other/llm"}, "", False)

    assert session.id == id_of(ENDED) == f"r-1.{ENDED.began}"
    assert (session.began_at, session.ended_at, session.duration_s) == (BEGAN, ENDED.ended_at, 250)
    assert (session.turns, session.words, session.interruptions) == (3, 8, 1)
    assert session.speakers == (
        Talk("ada", "person", "Ada", 2, 5, 3.0, 0),
        Talk("scout", "bot", "Scout", 1, 3, 3.0, 1),
    )
    assert session.models == ("openai/gpt-x",)
    assert session.tokens == 7
    assert counted(session).talk_s == session.talk_s == 6.0


def test_without_a_model_it_is_told_by_the_first_and_last_words() -> None:
    session = summary_of(ENDED, TURNS, {}, "", False)

    assert session.by == "extract"
    assert session.text == (
        "3 turns by Ada, Scout in 4 min 10 s.\n"
        "Ada: Where shall we meet?\nScout: In hall three\nAda: No."
    )
    assert summary_of(ENDED, TURNS[:2], {}, "They met.", True).text == "They met."
    assert summary_of(ENDED, TURNS[:2], {}, "They met.", True).tokens is None


def test_a_long_session_is_told_by_its_ends_within_bounds() -> None:
    many = [turn("ada", f"{number} " + "word " * 200, number) for number in range(20)]

    told = extract(many, 60)

    lines = told.split("\n")
    assert len(told) <= bounds.NOTE_CHARS
    assert [line.split()[1] for line in (lines[1], lines[2], lines[4], lines[5])] == [
        "0",
        "1",
        "18",
        "19",
    ]
    assert lines[3] == "[...]"


def test_turns_of_a_session_are_those_of_the_rooms_life_as_far_as_clocks_agree() -> None:
    assert [belongs(ENDED, turn("ada", "Hm.", at)) for at in (-60, -4, 100, 253, 300)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert [precedes(ENDED, turn("ada", "Hm.", at)) for at in (-60, -4, 300)] == [
        True,
        False,
        False,
    ]
