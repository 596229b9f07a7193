"""Each tool makes one lesson of another, or says why it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.providers import ToolCall
from src.swarm.rules import lesson_tools
from src.swarm.rules.lesson_tools import NAMES
from src.swarm.rules.lessons import Check, Example, Lesson, Taught, lesson_of
from src.swarm.rules.tools import command_for, is_built_in, tools_of
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import SetTools
from src.swarm.shapes.models import Tool
from src.swarm.shapes.work import EditBlackboard
from tests.unit.swarm.given import Story, raw
from tests.unit.swarm.rules.teaching import ROWS, lesson_story, plain, taught, without

AT_HALVES: dict[str, Any] = {"subtopic": "halves", "order": 1}
AT_ADDING: dict[str, Any] = {"subtopic": "adding", "order": 2}


def after(now: Taught, tool: str, **arguments: object) -> Lesson:
    """Have a bot of a conversation with this lesson call a tool; return what the lesson is then."""
    story = lesson_story(plain(now.lesson))
    command = command_for(story.state, ToolCall(tool, raw(arguments)), now)
    assert isinstance(command, EditBlackboard)
    story.tell(command)
    lesson = lesson_of(story.state)
    assert lesson is not None
    return lesson


def refused(now: Taught | None, tool: str, arguments: Raw = Raw(b"{}")) -> Refused:
    with pytest.raises(Refused) as refusal:
        lesson_tools.command(ToolCall(tool, arguments), now)
    return refusal.value


@pytest.mark.parametrize(
    ("now", "tool", "at"),
    [
        (taught(), "next_subtopic", "adding"),
        (taught(**AT_ADDING), "next_subtopic", "times"),
        (taught(**AT_ADDING), "previous_subtopic", "halves"),
        (taught(*without(ROWS, "adding"), **AT_ADDING), "previous_subtopic", "halves"),
    ],
)
def test_a_lesson_goes_on_and_back(now: Taught, tool: str, at: str) -> None:
    assert after(now, tool).subtopic == at


def test_from_the_first_to_the_last_and_no_further() -> None:
    now = taught()
    for _ in ROWS[1:]:
        now = Taught(after(now, "next_subtopic"), ROWS)
    last = refused(now, "next_subtopic")
    assert (last.code, last.detail) == (
        "last_subtopic",
        "Times is the last subtopic of fractions",
    )
    assert refused(taught(), "previous_subtopic").code == "first_subtopic"


def test_what_took_a_deleted_subtopics_place_counts_as_taught() -> None:
    now = taught(*without(ROWS, "adding"), **AT_ADDING)
    assert refused(now, "next_subtopic").code == "last_subtopic"


def test_a_check_is_noted_when_it_is_asked_and_again_when_it_is_answered() -> None:
    asked = after(taught(pupil="zoe"), "check_understanding", question="Half of 4?")
    assert asked.checks == (Check("halves", "Half of 4?", None, "zoe"),)
    now = Taught(asked, ROWS, "zoe")
    answered = after(now, "check_understanding", question="Half of 4?", passed=True)
    assert answered.checks == (Check("halves", "Half of 4?", True, "zoe"),)


def test_the_same_question_to_another_person_or_elsewhere_is_another_check() -> None:
    checks = (Check("halves", "Why?", True, "zoe"), Check("adding", "Why?", True, "ben"))
    noted = after(taught(checks=checks, pupil="ben"), "check_understanding", question="Why?")
    assert noted.checks == (*checks, Check("halves", "Why?", None, "ben"))


def test_an_example_is_noted_once() -> None:
    given = after(taught(), "provide_example", example="a pizza")
    again = after(Taught(given, ROWS), "provide_example", example="a pizza")
    assert given.examples == again.examples == (Example("halves", "a pizza"),)


def test_the_pace_is_set_and_stays_when_the_lesson_goes_on() -> None:
    slow = after(taught(), "set_pace", pace="slow")
    assert slow.pace == "slow"
    assert after(Taught(slow, ROWS), "next_subtopic").pace == "slow"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("summarise", {}), ("set_pace", {"pace": "normal"}), ("provide_example", {"example": "x"})],
)
def test_every_tool_settles_where_the_lesson_is(tool: str, arguments: dict[str, Any]) -> None:
    settled = after(taught(), tool, **arguments)
    assert {"subtopic": settled.subtopic, "order": settled.order} == AT_HALVES


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("next_subtopic", "Subtopic 1 of 3: Halves, level easy. Two parts."),
        ("set_pace", "The pace is fast now."),
        ("summarise", "fractions, at 1 of 3, pace fast."),
    ],
)
def test_a_call_says_what_the_lesson_is_then(tool: str, says: str) -> None:
    assert lesson_tools.told(ToolCall(tool), taught(pace="fast")).startswith(says)


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("set_pace", {"pace": "rushed"}, "arguments.pace"),
        ("set_pace", {}, "arguments.pace"),
        ("check_understanding", {"passed": True}, "arguments.question"),
        ("provide_example", {"example": ""}, "arguments.example"),
        ("next_subtopic", {"to": "times"}, "arguments.to"),
    ],
)
def test_bad_arguments_are_refused_at_their_place(tool: str, arguments: object, field: str) -> None:
    assert refused(taught(), tool, raw(arguments)).field == field


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("next_subtopic", {}),
        ("previous_subtopic", {}),
        ("check_understanding", {"question": "Why?"}),
        ("provide_example", {"example": "x"}),
        ("summarise", {}),
        ("set_pace", {"pace": "slow"}),
    ],
)
def test_without_a_lesson_or_subtopics_it_says_what_is_missing(tool: str, arguments: Any) -> None:
    assert refused(None, tool, raw(arguments)).code == "no_lesson"
    empty = refused(Taught(Lesson("fractions"), ()), tool, raw(arguments))
    assert (empty.code, "add one" in empty.detail) == ("no_subtopics", True)


def test_only_bots_of_a_lesson_are_given_its_tools() -> None:
    state = lesson_story({"topic": "fractions"}).state
    with_lesson = {tool.name for tool in tools_of(state, taught())}
    without_lesson = {tool.name for tool in tools_of(state, None)}
    assert with_lesson - without_lesson == NAMES


def test_a_tool_of_the_conversations_own_keeps_its_name() -> None:
    story = Story()
    theirs = Tool("summarise", "Ask the service.")
    story.tell(SetTools((theirs,)))

    assert [one for one in tools_of(story.state, taught()) if one.name == "summarise"] == [theirs]
    assert not is_built_in(story.state, "summarise")
    assert command_for(story.state, ToolCall("summarise"), taught()) is None


def test_the_page_names_every_tool_with_its_arguments() -> None:
    page = (Path(__file__).parents[4] / "docs" / "lessons.md").read_text()
    section = page.partition("## The tools")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    for tool in lesson_tools.TOOLS:
        takes = free_json.read(tool.input_schema)["properties"]
        assert {tool.name, *takes} <= named
