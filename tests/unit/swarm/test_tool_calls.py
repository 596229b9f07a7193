"""Tool calls: scheduled or waiting for a person, decided once, finished once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm import bounds
from src.swarm.commands import Command, DecideToolCall, FinishToolCall, RequestToolCall
from src.swarm.models import Config, PendingToolCall, Scheduling
from tests.unit.swarm.given import Story, raw

CAREFUL = Config(scheduling=Scheduling(requires_approval=("pay",), approval_timeout_s=30))


def refusal(story: Story, command: Command) -> tuple[str, str | None]:
    with pytest.raises(Refused) as refused:
        story.tell(command)
    return refused.value.code, refused.value.field


def waiting() -> Story:
    story = Story(CAREFUL)
    story.tell(RequestToolCall("pay", "scout", raw({"euro": 5}), id="call"))
    return story


def test_a_call_that_needs_no_approval_is_scheduled_after_its_delay() -> None:
    delays = Scheduling(default_delay_ms=2_000, tool_delays=raw({"slow": 500}))
    story = Story(Config(scheduling=delays))

    story.tell(RequestToolCall("look", "scout", raw({"at": "sky"})))
    story.tell(RequestToolCall("slow", "scout"))

    first, second = story.state.pending_tool_calls
    assert first == PendingToolCall(
        "key-1:0",
        "look",
        "scout",
        story.at - timedelta(seconds=1),
        raw({"at": "sky"}),
        "scheduled",
        due_at=story.at + timedelta(seconds=1),
    )
    assert second.due_at == story.at + timedelta(milliseconds=500)


def test_a_call_that_needs_approval_waits_for_it_until_its_time_out() -> None:
    story = waiting()

    (call,) = story.state.pending_tool_calls
    assert (call.status, call.due_at) == ("pending_approval", story.at + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("rule", "tool", "status"),
    [
        ("all", "look", "pending_approval"),
        ("none", "pay", "scheduled"),
        (("pay",), "look", "scheduled"),
        ((), "pay", "scheduled"),
    ],
)
def test_the_config_says_which_tools_need_approval(rule: object, tool: str, status: str) -> None:
    scheduling = Scheduling(requires_approval=rule)  # type: ignore[arg-type]  # parametrised
    story = Story(Config(scheduling=scheduling))

    story.tell(RequestToolCall(tool, "scout"))

    assert story.state.pending_tool_calls[0].status == status


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        ("approve", "approved"),
        ("reject", "rejected_by_user"),
        ("time_out", "rejected_by_timeout"),
    ],
)
def test_a_decision_is_made_once_and_says_by_whom(decision: object, status: str) -> None:
    story = waiting()
    command = DecideToolCall("call", decision, "Because.")  # type: ignore[arg-type]  # parametrised

    story.tell(command, actor="ada")

    (call,) = story.state.pending_tool_calls
    assert (call.status, call.decided_by, call.reason) == (status, "ada", "Because.")
    assert story.tell(command) == ()


def test_a_rejected_call_cannot_be_approved_after_all() -> None:
    story = waiting()
    story.tell(DecideToolCall("call", "reject"))

    assert refusal(story, DecideToolCall("call", "approve")) == ("wrong_status", "decision")
    assert refusal(story, FinishToolCall("call", "executing")) == ("wrong_status", "outcome")


def test_an_approved_call_runs_and_leaves_its_result_and_cost() -> None:
    story = waiting()
    story.tell(DecideToolCall("call", "approve"))

    story.tell(FinishToolCall("call", "executing", cost=1))
    assert story.state.pending_tool_calls[0].attempts == 1
    story.tell(FinishToolCall("call", "succeeded", raw({"paid": True}), cost=2))

    (call,) = story.state.pending_tool_calls
    assert (call.status, call.attempts, call.cost) == ("succeeded", 1, 3)
    assert call.result == raw({"paid": True})


def test_an_open_call_can_be_cancelled_and_a_finished_one_cannot() -> None:
    story = waiting()

    story.tell(FinishToolCall("call", "cancelled"))

    assert story.state.pending_tool_calls[0].status == "cancelled"
    assert refusal(story, FinishToolCall("call", "succeeded")) == ("wrong_status", "outcome")


def test_a_call_waiting_for_approval_cannot_run() -> None:
    assert refusal(waiting(), FinishToolCall("call", "executing")) == ("wrong_status", "outcome")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (RequestToolCall("pay", "nobody"), ("not_a_participant", "caller")),
        (RequestToolCall("pay", "ada"), ("wrong_kind", "caller")),
        (RequestToolCall("pay", "scout", id="call"), ("exists", "id")),
        (RequestToolCall("pay", "scout", raw([1])), ("invalid", "arguments")),
        (DecideToolCall("other", "approve"), ("unknown_tool_call", "id")),
        (FinishToolCall("other", "failed"), ("unknown_tool_call", "id")),
        (FinishToolCall("call", "cancelled", Raw(b"{")), ("invalid", "result")),
    ],
)
def test_what_makes_no_sense_is_refused(command: Command, expected: tuple[str, str]) -> None:
    assert refusal(waiting(), command) == expected


def test_calls_that_are_over_make_room_and_open_ones_do_not() -> None:
    story = waiting()
    for number in range(bounds.TOOL_CALLS - 1):
        story.tell(RequestToolCall("look", "scout", id=f"call-{number}"))
    assert refusal(story, RequestToolCall("look", "scout")) == ("too_many", "tool")
    story.tell(FinishToolCall("call-3", "succeeded"))

    story.tell(RequestToolCall("look", "scout", id="one-more"))

    ids = [call.id for call in story.state.pending_tool_calls]
    assert len(ids) == bounds.TOOL_CALLS
    assert "call-3" not in ids
    assert ids[-1] == "one-more"
