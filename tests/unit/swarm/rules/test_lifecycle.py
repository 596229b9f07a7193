"""Which action leads from which status to which, and what an ended conversation still takes."""

from __future__ import annotations

from typing import Any

import pytest

from src.state.errors import NotFound, Refused
from src.swarm.shapes.commands import (
    ChangeStatus,
    Command,
    CountUsage,
    Create,
    Delete,
    PassBaton,
    PostMessage,
    Speaker,
)
from src.swarm.shapes.events import StatusChanged
from tests.unit.swarm.given import Story

LEGAL = [
    ((), "start", "running"),
    (("start",), "stop", "ready"),
    ((), "pause", "paused"),
    (("start",), "pause", "paused"),
    ((), "suspend", "suspended"),
    (("start",), "suspend", "suspended"),
    (("pause",), "resume", "ready"),
    (("suspend",), "resume", "ready"),
    ((), "complete", "completed"),
    (("pause",), "complete", "completed"),
    (("start",), "fail", "failed"),
    (("suspend",), "cancel", "cancelled"),
]
ILLEGAL: list[tuple[tuple[Any, ...], Any]] = [
    (("pause",), "start"),
    (("suspend",), "start"),
    (("pause",), "stop"),
    (("pause",), "suspend"),
    (("suspend",), "pause"),
    (("start",), "resume"),
]
ENDED: list[Any] = ["complete", "fail", "cancel"]


def story_after(actions: tuple[Any, ...]) -> Story:
    story = Story()
    for action in actions:
        story.tell(ChangeStatus(action))
    return story


@pytest.mark.parametrize(("before", "action", "status"), LEGAL)
def test_an_action_leads_to_its_status(before: tuple[Any, ...], action: Any, status: str) -> None:
    story = story_after(before)

    events = story.tell(ChangeStatus(action, "because"))

    assert events == (StatusChanged(status, "because"),)  # type: ignore[arg-type]  # parametrised
    assert story.state.status == status


@pytest.mark.parametrize(("before", "action"), ILLEGAL)
def test_an_action_out_of_place_is_refused(before: tuple[Any, ...], action: Any) -> None:
    story = story_after(before)

    with pytest.raises(Refused) as refused:
        story.tell(ChangeStatus(action))

    assert (refused.value.code, refused.value.field) == ("wrong_status", "action")


def test_an_action_that_has_happened_already_changes_nothing() -> None:
    story = story_after(("start",))

    assert story.tell(ChangeStatus("start")) == ()


@pytest.mark.parametrize("end", ENDED)
@pytest.mark.parametrize(
    "command",
    [ChangeStatus("start"), PostMessage(Speaker("person", "ada"), "Hello?"), PassBaton("scout")],
)
def test_a_finished_conversation_refuses_to_go_on(end: Any, command: Command) -> None:
    story = story_after((end,))

    with pytest.raises(Refused) as refused:
        story.tell(command)

    assert refused.value.code == "finished"


@pytest.mark.parametrize("end", ENDED)
def test_a_finished_conversation_still_counts_what_its_last_turn_cost(end: Any) -> None:
    story = story_after((end,))

    story.tell(CountUsage(credits=12))

    assert story.state.stats.credits == 12


@pytest.mark.parametrize(
    "command",
    [Delete(), ChangeStatus("resume"), CountUsage(credits=1), PassBaton(None)],
)
def test_a_deleted_conversation_is_not_found(command: Command) -> None:
    story = Story()
    story.tell(Delete())

    with pytest.raises(NotFound):
        story.tell(command)


def test_the_id_of_a_deleted_conversation_is_not_used_again() -> None:
    story = Story()
    story.tell(Delete())

    with pytest.raises(Refused) as refused:
        story.tell(Create("c-1"))

    assert (refused.value.code, refused.value.field) == ("exists", "id")
