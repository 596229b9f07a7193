"""Where a lesson is, whatever becomes of its subtopics meanwhile, and what it says of itself."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from src.swarm.rules import lessons
from src.swarm.rules.lessons import Check, Example, Lesson, Taught, lesson_of
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import Create
from src.swarm.shapes.work import EditBlackboard
from tests.unit.swarm.given import MEMBERS, Story
from tests.unit.swarm.rules.teaching import (
    ADDING,
    HALVES,
    ROWS,
    TIMES,
    lesson_story,
    row,
    taught,
    without,
)

AT_ADDING = Lesson("fractions", "adding", 2)


def title(lesson: Lesson, *rows: object) -> str | None:
    present = Taught(lesson, rows).present  # type: ignore[arg-type]  # rows of the tests below
    return None if present is None else present.id


def test_a_topic_on_the_blackboard_makes_a_lesson() -> None:
    assert lesson_of(Story(create=Create("c-1", participants=MEMBERS)).state) is None
    assert lesson_of(lesson_story({"topic": "fractions"}).state) == Lesson("fractions")


@pytest.mark.parametrize(
    "value",
    ["Monday at ten", {"pace": "slow"}, {"topic": ""}, {"topic": "x", "pace": "rushed"}, None],
)
def test_an_item_of_another_kind_is_no_lesson(value: object) -> None:
    assert lesson_of(lesson_story(value).state) is None


def test_a_lesson_begins_at_the_first_subtopic() -> None:
    assert title(Lesson("fractions"), *ROWS) == "halves"


def test_a_lesson_is_where_it_was_left_though_its_subtopic_moved() -> None:
    assert title(AT_ADDING, HALVES, TIMES, row("adding", 9)) == "adding"


def test_a_deleted_subtopics_place_is_taken_by_the_one_that_follows() -> None:
    assert title(AT_ADDING, *without(ROWS, "adding")) == "times"
    assert title(AT_ADDING, HALVES, row("new", 2), TIMES) == "new", "after it by id"
    assert title(AT_ADDING, *ROWS) == "adding", "one that lives again has its place again"


def test_a_deleted_last_subtopics_place_is_taken_by_the_one_before() -> None:
    assert title(Lesson("fractions", "times", 3), HALVES, ADDING) == "adding"


def test_with_every_subtopic_deleted_nothing_is_taught_until_there_is_one() -> None:
    assert title(AT_ADDING) is None
    assert "no subtopics" in lessons.where(Taught(AT_ADDING, ()))
    assert "no subtopics" in lessons.teaching(Taught(AT_ADDING, ())).instructions
    assert title(AT_ADDING, HALVES) == "halves"


def test_an_edit_names_only_what_differs_and_keeps_what_others_wrote() -> None:
    story = lesson_story({"topic": "fractions", "pace": "slow", "ours": [1]})
    before = lesson_of(story.state)
    assert before is not None

    story.tell(lessons.edit(before, lessons.at(before, ADDING)))

    assert free_json.read(story.state.blackboard[0].value) == {
        "topic": "fractions",
        "pace": "slow",
        "ours": [1],
        "subtopic": "adding",
        "order": 2,
    }
    assert lessons.edit(before, before) == EditBlackboard()


def test_the_oldest_checks_and_examples_go_before_the_item_is_too_large() -> None:
    story = lesson_story({"topic": "fractions"})
    for number in range(120):
        before = lesson_of(story.state)
        assert before is not None
        check = Check("halves", f"{number}" + "ü" * 190, True, "zoe")
        example = Example("halves", f"{number}" + "ü" * 190)
        after = replace(
            before, checks=(*before.checks, check), examples=(*before.examples, example)
        )
        story.tell(lessons.edit(before, after))

    kept = lesson_of(story.state)
    assert kept is not None
    assert (kept.checks[-1], kept.examples[-1]) == (check, example)
    assert 10 < len(kept.checks) < 120
    assert abs(len(kept.checks) - len(kept.examples)) <= 1
    assert len(msgspec.json.encode(kept)) < 16_384


def test_a_model_reads_what_to_teach_how_and_what_was_said_of_it() -> None:
    told = lessons.teaching(
        taught(
            subtopic="halves",
            order=1,
            pace="slow",
            examples=(Example("halves", "a pizza"), Example("adding", "two coins")),
            checks=(
                Check("halves", "Half of 4?", True, "zoe"),
                Check("halves", "Half of 1?"),
                Check("adding", "1/2 + 1/2?", False),
            ),
        )
    )
    assert (told.title, told.content) == ("Halves", "Two parts.")
    for words in (
        "You teach 'fractions'",
        "Subtopic 1 of 3: Halves, level easy. Two parts.",
        "After it: Adding.",
        "Pace: slow",
        "Examples given: a pizza.",
        "'Half of 4?': understood by zoe; 'Half of 1?': not answered yet.",
    ):
        assert words in told.instructions
    assert "Before it" not in told.instructions
    assert "coins" not in told.instructions


def test_a_model_reads_that_a_subtopic_is_the_last() -> None:
    told = lessons.teaching(taught(subtopic="times", order=3)).instructions
    assert "Before it: Adding.\nIt is the last one." in told


def test_a_summary_goes_through_every_subtopic() -> None:
    checks = (Check("halves", "a", True), Check("halves", "b", False), Check("gone", "c", True))
    examples = (Example("halves", "a pizza"),)
    assert lessons.summary(taught(subtopic="adding", checks=checks, examples=examples)) == (
        "fractions, at 2 of 3, pace normal. "
        "Halves (before): 1 of 2 checks passed, examples given: 1. Adding (now). Times (to come)."
    )
