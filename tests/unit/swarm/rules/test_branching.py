"""Branches: they begin with what was shared at a point, and with nothing that is under way."""

from __future__ import annotations

import msgspec
import pytest

from src.state.errors import Refused
from src.state.models import Entry
from src.swarm.rules.branching import branch_of
from src.swarm.shapes.codec import decode_command, encode_command
from src.swarm.shapes.commands import (
    Branch,
    ChangeStatus,
    CountUsage,
    PassBaton,
    PostMessage,
    Speaker,
)
from src.swarm.shapes.config import Config, Parent, Scheduling
from src.swarm.shapes.models import Stats
from src.swarm.shapes.work import (
    Assignment,
    DecideToolCall,
    EditBlackboard,
    RequestToolCall,
    SetSubtask,
)
from tests.unit.swarm.given import Story, raw, rebuilt

CAREFUL = Config(goal="Plan", scheduling=Scheduling(requires_approval="all"))


def busy() -> Story:
    """A running conversation with something of everything."""
    story = Story(CAREFUL)
    story.tell(ChangeStatus("start"))
    story.tell(EditBlackboard(set=(Assignment("venue", raw("hall 3")),)), actor="ada")
    story.tell(SetSubtask("book", "Book it"))
    story.says("ada", "Shall we begin?")
    story.says("scout", "We shall.")
    story.tell(PassBaton("tutor"))
    story.tell(RequestToolCall("pay", "scout", id="open"))
    story.tell(RequestToolCall("pay", "scout", id="over"))
    story.tell(DecideToolCall("over", "reject"))
    story.tell(CountUsage(tool_calls=1, credits=9))
    return story


def branched(story: Story, id: str = "c-2") -> Story:
    state = story.state
    return Story(create=branch_of(Entry(state.id, state.version, state), id))


def test_branch_has_all_that_its_members_share() -> None:
    story = busy()

    there, here = branched(story).state, story.state

    for field in ("participants", "team", "available_tools", "blackboard", "subtasks", "baton"):
        assert getattr(there, field) == getattr(here, field), field
    assert [(turn.id, turn.author, turn.text) for turn in there.messages] == [
        (turn.id, turn.author, turn.text) for turn in here.messages
    ]
    assert there.config == msgspec.structs.replace(here.config, parent=there.config.parent)


def test_branch_says_where_it_begins_and_is_its_makers() -> None:
    story = busy()

    there = branched(story).state

    assert there.config.parent == Parent("c-1", len(story.log))
    assert (there.id, there.created_by, there.status) == ("c-2", "somebody", "ready")


def test_open_tool_calls_stay_with_the_original() -> None:
    story = busy()

    there = branched(story).state

    assert [call.id for call in there.pending_tool_calls] == ["over"]
    assert [call.id for call in story.state.pending_tool_calls] == ["open", "over"]


def test_statistics_count_the_turns_that_went_along_and_no_use() -> None:
    there = branched(busy()).state

    assert (there.stats.turns, there.stats.words) == (2, 5)
    assert (there.stats.tool_calls, there.stats.credits) == (Stats().tool_calls, Stats().credits)


def test_turns_that_went_along_are_events_of_the_branch() -> None:
    there = branched(busy())

    assert [turn.seq for turn in there.state.messages] == [2, 3]
    assert rebuilt(there.log) == there.state


def test_branch_goes_on_by_itself() -> None:
    story = busy()
    there = branched(story)
    before = story.state

    there.says("ada", "Here we go another way.")

    assert there.state.messages[-1].seq == 4
    assert story.state == before


def test_a_window_of_the_largest_turns_goes_along() -> None:
    story = Story(CAREFUL)
    for _ in range(12):
        story.tell(PostMessage(Speaker("person", "ada"), "ä" * 20_000))

    there = branched(story)

    assert len(story.state.messages) == 3
    assert len(there.state.messages) == len(story.state.messages)


def test_command_crosses_servers_as_it_is() -> None:
    state = busy().state
    command = branch_of(Entry(state.id, state.version, state), "c-2")

    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("end", [False, True])
def test_nothing_that_exists_is_begun_again(end: bool) -> None:
    story = busy()
    if end:
        story.tell(ChangeStatus("complete"))
    command = Branch("c-1", Parent("c-0", 1), story.state)

    with pytest.raises(Refused) as refused:
        story.tell(command)

    assert refused.value.code == ("finished" if end else "exists")
