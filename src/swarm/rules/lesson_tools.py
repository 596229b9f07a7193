"""The tools of bots that teach: each makes one lesson of another, and says what it is then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from src.state.configs import Record
from src.state.errors import Refused
from src.swarm.configs.subtopics import SubtopicConfig
from src.swarm.providers import ToolCall
from src.swarm.rules import arguments, lessons
from src.swarm.rules.arguments import Arguments
from src.swarm.rules.lessons import Check, Example, Lesson, Pace, Taught
from src.swarm.shapes.bounds import Name
from src.swarm.shapes.models import Tool
from src.swarm.shapes.work import EditBlackboard


class _Nothing(Arguments, frozen=True, gc=False):
    pass


class _Check(Arguments, frozen=True, gc=False):
    """`passed` is left out when the question is asked, and given when it is answered."""

    question: Name
    passed: bool | None = None


class _Example(Arguments, frozen=True, gc=False):
    example: Name


class _Pace(Arguments, frozen=True, gc=False):
    pace: Pace


def command(call: ToolCall, taught: Taught | None) -> EditBlackboard:
    """Return what a call of one of these tools makes of the blackboard.

    Raises:
        Refused: there is no lesson, it cannot do that from where it is, or the tool does not take
            these arguments.
    """
    _, kind, step, _ = _TOOLS[call.name]
    asked = arguments.given(call, kind)
    if taught is None:
        detail = f'{call.name}: put {{"topic": ...}} on the blackboard as {lessons.ITEM!r} first'
        raise Refused("no_lesson", detail)
    row = taught.present
    if row is None:
        detail = f"topic {taught.lesson.topic!r} has no subtopics; add one to teach it"
        raise Refused("no_subtopics", detail)
    return lessons.edit(taught.lesson, step(taught, row, asked))


def told(call: ToolCall, taught: Taught) -> str:
    """Return what a call has to say that was made in this lesson, as it is now."""
    return _TOOLS[call.name][3](taught)


# Each step takes the struct named beside it: the table pairs them, which no type can say. It also
# settles where the lesson is, so that a subtopic that is put in before it does not move it.
_Step = Callable[[Taught, Record[SubtopicConfig], Any], Lesson]


def _next(taught: Taught, row: Record[SubtopicConfig], _: _Nothing) -> Lesson:
    if taught.place + 1 == len(taught.rows):
        topic = taught.lesson.topic
        raise Refused("last_subtopic", f"{row.body.title} is the last subtopic of {topic}")
    return lessons.at(taught.lesson, taught.rows[taught.place + 1])


def _previous(taught: Taught, row: Record[SubtopicConfig], _: _Nothing) -> Lesson:
    if taught.place == 0:
        topic = taught.lesson.topic
        raise Refused("first_subtopic", f"{row.body.title} is the first subtopic of {topic}")
    return lessons.at(taught.lesson, taught.rows[taught.place - 1])


def _check(taught: Taught, row: Record[SubtopicConfig], given: _Check) -> Lesson:
    lesson = lessons.at(taught.lesson, row)
    check = Check(row.id, given.question, given.passed, taught.pupil)
    kept = tuple(one for one in lesson.checks if replace(one, passed=check.passed) != check)
    return replace(lesson, checks=(*kept, check))


def _example(taught: Taught, row: Record[SubtopicConfig], given: _Example) -> Lesson:
    lesson = lessons.at(taught.lesson, row)
    example = Example(row.id, given.example)
    kept = tuple(one for one in lesson.examples if one != example)
    return replace(lesson, examples=(*kept, example))


def _pace(taught: Taught, row: Record[SubtopicConfig], given: _Pace) -> Lesson:
    return replace(lessons.at(taught.lesson, row), pace=given.pace)


def _stay(taught: Taught, row: Record[SubtopicConfig], _: _Nothing) -> Lesson:
    return lessons.at(taught.lesson, row)


_TOOLS: dict[str, tuple[str, type[Arguments], _Step, Callable[[Taught], str]]] = {
    "next_subtopic": (
        "Go on to the next subtopic of the lesson; says what to teach there.",
        _Nothing,
        _next,
        lessons.where,
    ),
    "previous_subtopic": (
        "Go back to the subtopic before; says what to teach there.",
        _Nothing,
        _previous,
        lessons.where,
    ),
    "check_understanding": (
        "Note a question about the present subtopic; again with `passed` once it is answered.",
        _Check,
        _check,
        lambda _: "Noted.",
    ),
    "provide_example": (
        "Note in a few words the example that you are about to give, so that none comes twice.",
        _Example,
        _example,
        lambda _: "Noted; give it now.",
    ),
    "summarise": (
        "Hear how far the lesson has come, subtopic by subtopic, to sum it up.",
        _Nothing,
        _stay,
        lessons.summary,
    ),
    "set_pace": (
        "Teach slower or faster from now on.",
        _Pace,
        _pace,
        lambda taught: f"The pace is {taught.lesson.pace} now.",
    ),
}

NAMES = frozenset(_TOOLS)
TOOLS: tuple[Tool, ...] = tuple(
    Tool(name, description, arguments.schema(kind), category="lesson")
    for name, (description, kind, _, _) in _TOOLS.items()
)
