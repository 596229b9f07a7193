"""Subtasks: created, changed, deleted, and never waiting for themselves."""

from __future__ import annotations

import pytest

from src.state.errors import Refused
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import Command, RemoveParticipant
from src.swarm.shapes.models import Subtask
from src.swarm.shapes.work import DeleteSubtask, SetSubtask
from tests.unit.swarm.given import START, Story


def story_with(*tasks: SetSubtask) -> Story:
    story = Story()
    for task in tasks:
        story.tell(task)
    return story


def refusal(story: Story, command: Command) -> tuple[str, str | None]:
    with pytest.raises(Refused) as refused:
        story.tell(command)
    return refused.value.code, refused.value.field


def test_a_subtask_is_created_at_the_time_of_the_command() -> None:
    story = Story()

    story.tell(SetSubtask("plan", "Make a plan.", assignee="scout", priority="high"))

    assert story.state.subtasks == (
        Subtask("plan", "Make a plan.", story.at, assignee="scout", priority="high"),
    )


def test_a_changed_subtask_keeps_its_place_and_its_time_of_creation() -> None:
    story = story_with(SetSubtask("plan", "Make a plan."), SetSubtask("walk", "Walk."))
    created = story.state.subtasks[0].created_at

    story.tell(SetSubtask("plan", "Make a good plan.", status="done"))

    assert story.state.subtasks[0] == Subtask("plan", "Make a good plan.", created, status="done")
    assert created > START


def test_setting_the_same_again_changes_nothing() -> None:
    story = story_with(SetSubtask("plan", "Make a plan."))

    assert story.tell(SetSubtask("plan", "Make a plan.")) == ()


def test_a_subtask_is_deleted() -> None:
    story = story_with(SetSubtask("plan", "Make a plan."), SetSubtask("walk", "Walk."))

    story.tell(DeleteSubtask("plan"))

    assert [subtask.id for subtask in story.state.subtasks] == ["walk"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (SetSubtask("x", "X", assignee="nobody"), ("not_a_participant", "assignee")),
        (SetSubtask("x", "X", depends_on=("a", "y")), ("unknown_subtask", "depends_on[1]")),
        (SetSubtask("x", "X", depends_on=("x",)), ("unknown_subtask", "depends_on[0]")),
        (SetSubtask("a", "A", depends_on=("c",)), ("subtask_cycle", "depends_on")),
        (SetSubtask("a", "A", depends_on=("d",)), ("subtask_cycle", "depends_on")),
        (SetSubtask("a", "A", assignee="nobody"), ("not_a_participant", "assignee")),
        (DeleteSubtask("x"), ("unknown_subtask", "id")),
        (DeleteSubtask("b"), ("in_use", "id")),
    ],
)
def test_what_makes_no_sense_is_refused(command: Command, expected: tuple[str, str]) -> None:
    story = story_with(
        SetSubtask("a", "A"),
        SetSubtask("b", "B", depends_on=("a",)),
        SetSubtask("c", "C", depends_on=("b", "a")),
        SetSubtask("s", "S", depends_on=("b",)),
        SetSubtask("d", "D", depends_on=("s",)),
    )

    assert refusal(story, command) == expected


def test_a_subtask_may_stay_with_a_member_that_is_gone() -> None:
    story = story_with(SetSubtask("plan", "Make a plan.", assignee="scout"))
    story.tell(RemoveParticipant("scout"))

    story.tell(SetSubtask("plan", "Make a plan.", status="done", assignee="scout"))

    assert story.state.subtasks[0].status == "done"


def test_there_is_an_end_to_the_subtasks() -> None:
    story = story_with(*(SetSubtask(f"t-{n}", "") for n in range(bounds.SUBTASKS)))

    assert refusal(story, SetSubtask("more", "")) == ("too_many", "id")
    story.tell(SetSubtask("t-0", "Still possible."))
