"""Lessons: which subtopic a conversation is at, how fast it goes, and what was understood.

A conversation whose blackboard has an item `lesson` with a topic is a lesson in it; its bots teach.
The item is all there is: so the place is in the log, survives its server, and is seen and edited
like everything else on the blackboard. The subtopics themselves are configs and may be edited at
any time. One that is taught and then deleted has its place taken by the one that follows, or where
it was the last by the one before; with nothing left the lesson waits for new ones.
"""

from __future__ import annotations

from bisect import bisect
from typing import Literal

import msgspec
from msgspec.structs import replace

from src.state.configs import Record
from src.swarm.configs.subtopics import Curriculum, SubtopicConfig
from src.swarm.providers import Teaching
from src.swarm.shapes import free_json
from src.swarm.shapes.bounds import Count, Id, Name
from src.swarm.shapes.models import ConversationState
from src.swarm.shapes.work import Assignment, EditBlackboard

ITEM = "lesson"
"""The id of the blackboard's item."""

Pace = Literal["slow", "normal", "fast"]

_RECORDS_BYTES = 12_288
"""Checks and examples as JSON: beyond, the oldest go. An item holds 16 384 bytes in all."""


class Check(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A question about a subtopic, and whether it was answered well; None: not answered yet."""

    subtopic: Id
    question: Name
    passed: bool | None = None
    person: Id | None = None
    """Who was asked, where that is known."""


class Example(msgspec.Struct, frozen=True, gc=False):
    """An example that was given, in a few words."""

    subtopic: Id
    example: Name


class Lesson(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The item's value. Fields that are not known here are left alone."""

    topic: Name
    subtopic: Id | None = None
    """Where the lesson is; None: at the first one."""
    order: Count = 0
    """That subtopic's order, by which its place is found when it is deleted."""
    pace: Pace = "normal"
    checks: tuple[Check, ...] = ()
    examples: tuple[Example, ...] = ()


class Taught(msgspec.Struct, frozen=True, gc=False):
    """A lesson with what there is to teach."""

    lesson: Lesson
    rows: Curriculum
    pupil: str | None = None
    """The person who spoke last, where that is known."""

    @property
    def place(self) -> int:
        """Where the present subtopic is among the rows; 0 when there are none."""
        lesson = self.lesson
        if lesson.subtopic is None:
            return 0
        for place, row in enumerate(self.rows):
            if row.id == lesson.subtopic:
                return place
        keys = [(row.body.order, row.id) for row in self.rows]
        following = bisect(keys, (lesson.order, lesson.subtopic))
        return max(0, min(following, len(self.rows) - 1))

    @property
    def present(self) -> Record[SubtopicConfig] | None:
        """The subtopic that is taught now; None: the topic has none."""
        return self.rows[self.place] if self.rows else None


def lesson_of(state: ConversationState) -> Lesson | None:
    """Return the lesson on the blackboard; None: there is no item `lesson`, or it is none."""
    for item in state.blackboard:
        if item.id == ITEM:
            try:
                return msgspec.json.decode(item.value, type=Lesson)
            except msgspec.MsgspecError:
                return None
    return None


def edit(before: Lesson, after: Lesson) -> EditBlackboard:
    """Return the command that makes one lesson of another; it names only what differs."""
    after = _bounded(after)
    fields = {
        name: getattr(after, name)
        for name in Lesson.__struct_fields__
        if getattr(after, name) != getattr(before, name)
    }
    return EditBlackboard(merge=(Assignment(ITEM, free_json.write(fields)),) if fields else ())


def at(lesson: Lesson, row: Record[SubtopicConfig]) -> Lesson:
    """Return the lesson at this subtopic."""
    return replace(lesson, subtopic=row.id, order=row.body.order)


def _bounded(lesson: Lesson) -> Lesson:
    while len(msgspec.json.encode((lesson.checks, lesson.examples))) > _RECORDS_BYTES:
        longer = max(("checks", "examples"), key=lambda name: len(getattr(lesson, name)))
        lesson = replace(lesson, **{longer: getattr(lesson, longer)[1:]})
    return lesson


# -- in words ------------------------------------------------------------------------------------

_HOW: dict[Pace, str] = {
    "slow": "slow: one small step at a time, in short sentences, with an example for each",
    "normal": "normal",
    "fast": "fast: the essentials, and what is known already only by name",
}


def where(taught: Taught) -> str:
    """Say which subtopic is taught, with its content."""
    row = taught.present
    if row is None:
        return f"Nothing is to be taught: the topic {taught.lesson.topic!r} has no subtopics."
    level = f", level {row.body.level}" if row.body.level else ""
    place = f"Subtopic {taught.place + 1} of {len(taught.rows)}: {row.body.title}{level}."
    return f"{place} {row.body.content}".rstrip()


def teaching(taught: Taught) -> Teaching:
    """Return what whoever speaks for a bot has to know of its lesson."""
    row = taught.present
    if row is None:
        return Teaching(instructions=_brief(taught))
    return Teaching(row.body.title, row.body.content, _brief(taught))


def _brief(taught: Taught) -> str:
    """Say to a model what it teaches, and how."""
    lesson, row = taught.lesson, taught.present
    parts = [f"You teach {lesson.topic!r}, one subtopic at a time. {where(taught)}"]
    if row is None:
        return parts[0]
    before, after = taught.rows[: taught.place], taught.rows[taught.place + 1 :]
    if before:
        parts.append(f"Before it: {before[-1].body.title}.")
    parts.append(f"After it: {after[0].body.title}." if after else "It is the last one.")
    parts.append(f"Pace: {_HOW[lesson.pace]}.")
    given = [one.example for one in lesson.examples if one.subtopic == row.id]
    if given:
        parts.append(f"Examples given: {'; '.join(given)}.")
    checks = [_check(one) for one in lesson.checks if one.subtopic == row.id]
    if checks:
        parts.append(f"Checks: {'; '.join(checks)}.")
    parts.append(
        "Teach this subtopic alone. Call next_subtopic or previous_subtopic, without a word"
        " before it, to go elsewhere, and teach what it then says. Note each question that you"
        " ask to see whether it was understood, and each answer to it, with check_understanding."
    )
    return "\n".join(parts)


def summary(taught: Taught) -> str:
    """Say how far the lesson has come, subtopic by subtopic."""
    lesson, rows = taught.lesson, taught.rows
    if not rows:
        return where(taught)
    lines = [f"{lesson.topic}, at {taught.place + 1} of {len(rows)}, pace {lesson.pace}."]
    for place, row in enumerate(rows):
        came = "now" if place == taught.place else "before" if place < taught.place else "to come"
        lines.append(f"{row.body.title} ({came}){_understood(lesson, row.id)}.")
    return " ".join(lines)


def _understood(lesson: Lesson, subtopic: str) -> str:
    answers = [one.passed for one in lesson.checks if one.subtopic == subtopic]
    examples = sum(one.subtopic == subtopic for one in lesson.examples)
    said = []
    if answers:
        said.append(f"{answers.count(True)} of {len(answers)} checks passed")
    if examples:
        said.append(f"examples given: {examples}")
    return f": {', '.join(said)}" if said else ""


def _check(check: Check) -> str:
    came = {None: "not answered yet", True: "understood", False: "not understood"}[check.passed]
    who = f" by {check.person}" if check.person is not None else ""
    return f"{check.question!r}: {came}{who}"
