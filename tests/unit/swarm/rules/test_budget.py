"""Limits: what would begin is refused by the limit's name, what has happened never."""

from __future__ import annotations

from datetime import timedelta

import pytest

from src.state.errors import Refused
from src.swarm.dialogue import floor
from src.swarm.dialogue.floor import Floor
from src.swarm.rules.budget import used_up
from src.swarm.shapes.commands import Command, CountUsage, PostMessage, Speaker
from src.swarm.shapes.config import Config
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.work import RequestToolCall
from tests.unit.swarm.given import START, Story

CALL = RequestToolCall("look", "scout")
LATER = START + timedelta(hours=1)


def refused(story: Story, command: Command = CALL) -> str:
    with pytest.raises(Refused) as refusal:
        story.tell(command)
    assert str(getattr(refusal.value, "field", None)) == "tool"
    return refusal.value.code


def limited(**limits: float) -> Story:
    return Story(Config(limits=Limits(**limits)))  # type: ignore[arg-type]  # counts and seconds


def test_tool_calls_of_the_conversation_end_at_their_limit() -> None:
    story = limited(tool_calls=2)
    story.tell(CALL)
    story.tell(RequestToolCall("look", "tutor"))

    assert refused(story) == "limit_tool_calls"
    assert used_up(story.state) is None


def test_tool_calls_within_a_response_end_at_theirs_and_the_next_response_begins_anew() -> None:
    story = limited(tool_calls_per_response=2)
    story.tell(CALL)
    story.tell(CALL)
    assert refused(story) == "limit_tool_calls_per_response"
    story.tell(RequestToolCall("look", "tutor"))

    story.says("ada", "And now?")

    story.tell(CALL)


def test_credits_within_a_response_keep_the_bot_from_more_calls() -> None:
    story = limited(credits_per_response=10)
    story.tell(CountUsage(credits=10, bot="scout"))

    assert refused(story) == "limit_credits_per_response"
    story.tell(RequestToolCall("look", "tutor"))
    story.says("scout")
    story.tell(CALL)


def test_credits_of_the_conversation_end_calls_and_turns() -> None:
    story = limited(credits=10)
    story.tell(CountUsage(credits=9))
    assert floor.ask(Floor(), story.state, "scout").granted

    story.tell(CountUsage(credits=5))

    assert refused(story) == "limit_credits"
    assert floor.ask(Floor(), story.state, "scout").reason == "limit_credits"


def test_the_time_of_bots_ends_calls_and_turns_and_that_of_people_does_not() -> None:
    story = limited(duration_s=60)
    for speaker, seconds in (("person", 3_600), ("bot", 59)):
        who = "ada" if speaker == "person" else "scout"
        ended = LATER + timedelta(seconds=seconds)
        turn = Speaker(speaker, who)  # type: ignore[arg-type]  # one of the kinds
        story.tell(PostMessage(turn, "Well.", started_at=LATER, ended_at=ended))
    assert (story.state.stats.responding_s, used_up(story.state)) == (59, None)

    ended = LATER + timedelta(seconds=1)
    story.tell(PostMessage(Speaker("bot", "tutor"), "So.", started_at=LATER, ended_at=ended))

    assert refused(story) == "limit_duration_s"
    assert floor.ask(Floor(), story.state, "scout").reason == "limit_duration_s"


def test_what_was_said_or_spent_counts_beyond_every_limit() -> None:
    story = limited(credits=0, duration_s=0)

    story.tell(CountUsage(credits=7, bot="scout"))
    story.says("scout", "I know.")

    assert (story.state.stats.credits, story.state.stats.turns) == (7, 1)


def test_no_limit_is_raised_beyond_its_cap() -> None:
    story = limited(tool_calls_per_response=1_000, tool_calls=1_000)
    for _ in range(50):
        story.tell(CountUsage(tool_calls=1, bot="scout"))

    assert refused(story) == "limit_tool_calls_per_response"
