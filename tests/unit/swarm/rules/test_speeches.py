"""Speeches: what is noted of a turn that is being said, and its end when nobody ends it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from src.state.errors import Refused
from src.state.models import Entry
from src.swarm.rules.branching import branch_of
from src.swarm.rules.speeches import attempt
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import (
    ChangeStatus,
    CutSpeech,
    NoteSpeech,
    PostMessage,
    RemoveParticipant,
    Speaker,
)
from src.swarm.shapes.events import MessageAdded, SpeechHeard
from src.swarm.shapes.models import Message, Speech
from tests.unit.swarm.given import START, Story, rebuilt

SOON = START + timedelta(seconds=1)


def note(text: str, heard: int, *, id: str = "r:0", bot: str = "scout") -> NoteSpeech:
    return NoteSpeech(id, bot, text, heard, SOON, "q", 7)


def cut_off() -> Story:
    """Scout answered Ada's question, and was cut off by the end of its host."""
    story = Story()
    story.tell(PostMessage(Speaker("person", "ada"), "Why?", id="q"))
    story.tell(note("Because. And so", 8))
    story.tell(CutSpeech("r:0"))
    return story


def test_a_speech_is_in_the_state_as_far_as_it_was_noted_and_is_no_turn() -> None:
    story = Story()

    story.tell(note("Because.", 0))
    story.tell(note("Because. And so on.", 8))

    assert story.state.speech == Speech(
        "r:0", "scout", "Because. And so on.", 8, SOON, story.at, "q", 7
    )
    assert (story.state.messages, story.state.stats.turns) == ((), 0)


def test_a_note_holds_only_what_is_new() -> None:
    story = Story()
    story.tell(note("Because.", 0))

    assert story.tell(note("Because. And so on.", 8)) == (
        SpeechHeard("r:0", "scout", " And so on.", 8, SOON, "q", 7),
    )
    assert story.tell(note("Because. And so on.", 8)) == ()


def test_the_turn_of_a_speech_ends_it() -> None:
    story = Story()
    story.tell(note("Because.", 0, id=f"key-{story.told + 1}:0"))

    story.says("scout", "Because. That is all.")

    assert story.state.speech is None
    assert [turn.cut_off for turn in story.state.messages] == [False]


def test_other_turns_leave_a_speech_open() -> None:
    story = Story()
    story.tell(note("Because.", 0))

    story.says("ada", "And?")

    assert story.state.speech is not None


def test_a_speech_that_nobody_ends_becomes_an_interrupted_turn_of_what_was_noted() -> None:
    story = cut_off()

    noted = START + timedelta(seconds=2)
    assert story.state.speech is None
    assert story.state.messages[-1] == Message(
        "r:0",
        story.state.messages[-1].author,
        "assistant",
        "Because. And so",
        SOON,
        noted,
        seq=4,
        reply_to="q",
        interrupted=True,
        spoken_until=8,
        cut_off=True,
        config_version=7,
    )
    assert story.state.messages[-1].author.id == "scout"


def test_a_speech_is_cut_once_and_never_another_in_its_place() -> None:
    story = cut_off()

    assert story.tell(CutSpeech("r:0")) == ()
    story.tell(note("Well.", 0, id="s:0"))
    assert story.tell(CutSpeech("r:0")) == ()


def test_a_note_that_comes_after_the_turn_opens_nothing() -> None:
    story = cut_off()

    assert story.tell(note("Because. And so on.", 19)) == ()
    assert story.state.speech is None


@dataclass
class Bad:
    command: NoteSpeech | PostMessage
    code: str


@pytest.mark.parametrize(
    "bad",
    [
        Bad(note("Hm.", 0, id="s:0", bot="tutor"), "held"),
        Bad(note("Something else.", 0), "invalid"),
        Bad(note("Because.", 8, bot="stranger"), "not_a_participant"),
        Bad(note("Because." + "\x00", 0), "invalid"),
        Bad(note("Because." + "x" * bounds.TEXT_BYTES, 0), "too_large"),
        Bad(PostMessage(Speaker("person", "ada"), "Mine!", id="r:0"), "exists"),
    ],
    ids=lambda bad: bad.code,
)
def test_what_does_not_fit_the_open_speech_is_refused(bad: Bad) -> None:
    story = Story()
    story.tell(note("Because.", 0))

    with pytest.raises(Refused) as refused:
        story.tell(bad.command)

    assert refused.value.code == bad.code


def test_a_speech_goes_with_its_bot() -> None:
    story = Story()
    story.tell(note("Because.", 0))

    story.tell(RemoveParticipant("tutor"))
    assert story.state.speech is not None
    story.tell(RemoveParticipant("scout"))
    assert story.state.speech is None


@pytest.mark.parametrize("action", ["complete", "fail", "cancel"])
def test_a_finished_conversation_has_no_open_speech(action: str) -> None:
    story = Story()
    story.tell(note("Because.", 0))

    story.tell(ChangeStatus("pause"))
    assert story.state.speech is not None
    story.tell(ChangeStatus(action))  # type: ignore[arg-type]  # of the names above
    assert story.state.speech is None


def test_a_branch_has_the_turns_and_not_what_is_being_said() -> None:
    story = Story()
    story.says("ada")
    story.tell(note("Because.", 0))

    branch = Story(create=branch_of(Entry("c-1", story.state.version, story.state), "c-2"))

    assert branch.state.speech is None
    assert [turn.author.id for turn in branch.state.messages] == ["ada"]


def test_a_log_with_notes_folds_to_the_same_state() -> None:
    story = cut_off()
    story.tell(note("Again.", 0, id="s:0"))

    assert rebuilt(story.log) == story.state
    kinds = [type(event) for event, _ in story.log[2:]]
    assert kinds == [SpeechHeard, MessageAdded, SpeechHeard]


# -- answering anew --------------------------------------------------------------------------------


def test_a_bot_that_was_cut_off_answers_anew_as_another_attempt() -> None:
    story = cut_off()
    question = story.state.messages[0]

    assert attempt(story.state, question, "scout") == 1
    story.tell(note("Because.", 0, id="s:0"))
    story.tell(CutSpeech("s:0"))
    assert attempt(story.state, question, "scout") == 2


def test_a_bot_that_has_answered_or_was_interrupted_by_a_person_does_not() -> None:
    story = Story()
    question = story.says("ada", "Why?")
    assert attempt(story.state, question, "scout") == 0

    story.tell(PostMessage(Speaker("bot", "scout"), "Well", reply_to=question.id, interrupted=True))

    assert attempt(story.state, question, "scout") is None
    assert attempt(story.state, question, "tutor") == 0


@pytest.mark.parametrize("who", ["ada", "tutor"])
def test_nothing_is_answered_anew_once_somebody_has_said_something(who: str) -> None:
    story = cut_off()
    question = story.state.messages[0]

    story.says(who)

    assert attempt(story.state, question, "scout") is None
