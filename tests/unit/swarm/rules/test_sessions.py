"""Saved sessions: what the log has is recognised, what it lacks is added, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.state.errors import Refused
from src.swarm.rules.sessions import NEAR, authored, unlogged
from src.swarm.shapes.commands import NewParticipant, SavedMessage, SaveSession, Speaker
from src.swarm.shapes.events import SessionSaved
from src.swarm.shapes.models import Author, Message
from tests.unit.swarm.given import ADA, SCOUT, START, Story

ADAS = Speaker("person", "ada")


def said(text: str, after_s: float | None = None, id: str | None = None) -> SavedMessage:
    """What Ada said in the session."""
    at = None if after_s is None else START + timedelta(seconds=after_s)
    return SavedMessage(text, author=ADAS, id=id, started_at=at)


def logged(text: str, after_s: float = 0, id: str = "m", who: str = "ada") -> Message:
    at = START + timedelta(seconds=after_s)
    return Message(id, Author("person", who, who.title()), "user", text, at, at)


@pytest.mark.parametrize(
    ("message", "turn", "known"),
    [
        (said("hello", 0), logged("hello", 0), True),
        (said("hello", 0), logged("hello", NEAR.total_seconds()), True),
        (said("hello", 0), logged("hello", NEAR.total_seconds() + 1), False),
        (said("hello", 0), logged("hello there", 0), False),
        (said("hello", 0), logged("hello", 0, who="ben"), False),
        (said("hello"), logged("hello", 9_999), True),
        (said("as it was heard", 0, "m"), logged("as it was said", 9_999, "m"), True),
        (said("hello", 0, "mine"), logged("hello", 1, "theirs"), True),
    ],
)
def test_turn_is_known_by_its_id_or_by_author_words_and_time(
    message: SavedMessage, turn: Message, known: bool
) -> None:
    assert unlogged((message,), (turn,)) == (() if known else (message,))


def test_each_logged_turn_stands_for_one_of_the_session() -> None:
    twice = (said("yes", 0), said("yes", 20))

    assert unlogged(twice, ()) == twice
    assert unlogged(twice, (logged("yes", 19),)) == twice[:1]
    assert unlogged(twice, (logged("yes", 1), logged("yes", 19))) == ()


@given(st.lists(st.sampled_from(["yes", "no", "well"]), max_size=12), st.integers(1, 5))
def test_pages_of_the_log_find_what_the_whole_of_it_would(words: list[str], size: int) -> None:
    turns = [logged(text, place, f"m-{place}") for place, text in enumerate(words)]
    session = tuple(said(text, place + 3) for place, text in enumerate([*words, "new"]))
    left = session
    for first in range(0, len(turns), size):
        left = unlogged(left, turns[first : first + size])
    assert left == session[-1:]


def test_message_without_an_author_is_the_usual_ones_of_its_role() -> None:
    state = Story(members=(ADA, SCOUT)).state
    session = [SavedMessage("Hm.", role=role) for role in ("user", "assistant", "system", "tool")]

    found = [message.author for message in authored(state, session)]

    assert found == [
        Speaker("person", "ada"),
        Speaker("bot", "scout"),
        Speaker("system", "system"),
        Speaker("system", "tool"),
    ]


def test_saving_adds_members_turns_and_the_fact_in_this_order() -> None:
    story = Story(members=(SCOUT,))
    ben = NewParticipant("ben", "person", "Ben")
    theirs = SavedMessage("Late.", author=Speaker("person", "ben"), ended_at=START)

    story.tell(SaveSession("s-1", (theirs, said("hello", 1)), (ben, SCOUT), duration_s=9.5))

    kinds = [type(event).__name__ for event, _ in story.log[1:]]
    assert kinds == ["ParticipantAdded", "MessageAdded", "MessageAdded", "SessionSaved"]
    assert story.log[-1][0] == SessionSaved("s-1", 9.5, 2)
    assert [(turn.author.id, turn.text) for turn in story.state.messages] == [
        ("ben", "Late."),
        ("ada", "hello"),
    ]
    assert story.state.messages[0].started_at == story.state.messages[0].ended_at == START
    assert len({turn.id for turn in story.state.messages}) == 2


def test_turn_that_was_logged_while_the_log_was_read_is_not_doubled() -> None:
    story = Story()
    seen = len(story.log)
    turn = story.says("ada", "hello")

    story.tell(SaveSession("s-1", (said("hello"),), seen_seq=seen))
    assert story.state.messages == (turn,)

    story.tell(SaveSession("s-2", (said("hello"),), seen_seq=turn.seq))
    assert len(story.state.messages) == 2


def test_saved_turns_are_nobodys_to_answer() -> None:
    story = Story()

    story.tell(SaveSession("s-1", (said("hello"),)))

    assert story.state.started_seq == len(story.log) > story.state.messages[-1].seq


def test_author_who_is_no_member_is_refused_whole() -> None:
    story = Story()
    strange = SavedMessage("Boo.", author=Speaker("bot", "stranger"))
    with pytest.raises(Refused) as refused:
        story.tell(SaveSession("s-1", (said("hello"), strange)))
    assert refused.value.code == "not_a_participant"
    assert story.state.messages == ()
