"""A topic to teach, and lessons in it."""

from __future__ import annotations

from typing import Any

import msgspec

from src.state.configs import Record
from src.swarm.configs.subtopics import Curriculum, SubtopicConfig
from src.swarm.rules.lessons import Lesson, Taught
from src.swarm.shapes.commands import Create
from src.swarm.shapes.work import Assignment
from tests.unit.swarm.given import MEMBERS, START, Story, raw


def row(id: str, order: int, content: str = "") -> Record[SubtopicConfig]:
    subtopic = SubtopicConfig("fractions", id.title(), content=content, order=order, level="easy")
    return Record("subtopic", id, 1, subtopic, False, "ada", START)


HALVES, ADDING, TIMES = row("halves", 1, "Two parts."), row("adding", 2), row("times", 3)
ROWS = (HALVES, ADDING, TIMES)


def taught(*rows: Record[SubtopicConfig], pupil: str | None = None, **lesson: Any) -> Taught:
    """A lesson in these subtopics, by default in all three."""
    return Taught(Lesson("fractions", **lesson), rows or ROWS, pupil)


def without(rows: Curriculum, gone: str) -> Curriculum:
    return tuple(row for row in rows if row.id != gone)


def lesson_story(value: object) -> Story:
    """A conversation with this on its blackboard as its lesson."""
    board = (Assignment("lesson", raw(value)),)
    return Story(create=Create("c-1", participants=MEMBERS, blackboard=board))


def plain(lesson: Lesson) -> Any:
    return msgspec.to_builtins(lesson)
