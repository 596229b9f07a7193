"""Tool calls: scheduled or waiting for a person, decided once, finished once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import Raw
from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context
from src.swarm.rules.tool_calls import CLOCKS_AGREE_S, awaited
from src.swarm.rules.transitions import decide
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import ChangeStatus, Command, RemoveParticipant
from src.swarm.shapes.config import Config, Scheduling
from src.swarm.shapes.limits import CAPS, Limits
from src.swarm.shapes.models import PendingToolCall
from src.swarm.shapes.work import DecideToolCall, FinishToolCall, RequestToolCall
from tests.unit.swarm.given import Story, raw

CAREFUL = Config(scheduling=Scheduling(requires_approval=("pay",), approval_timeout_s=30))


def refusal(story: Story, command: Command) -> tuple[str, str | None]:
    with pytest.raises(Refused) as refused:
        story.tell(command)
    return refused.value.code, refused.value.field


def waiting(limits: Limits = Limits()) -> Story:
    story = Story(replace(CAREFUL, limits=limits))
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
        delay_ms=2_000,
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


@pytest.mark.parametrize(("late_s", "code"), [(CLOCKS_AGREE_S, None), (6, "timed_out")])
def test_an_approval_that_comes_after_the_time_out_comes_too_late(
    late_s: float, code: str | None
) -> None:
    story = waiting()
    (call,) = story.state.pending_tool_calls
    assert call.due_at is not None
    context = Context("late", "ada", call.due_at + timedelta(seconds=late_s))

    def approve() -> None:
        decide(story.state, DecideToolCall("call", "approve"), context)

    if code is None:
        approve()
    else:
        with pytest.raises(Refused) as refused:
            approve()
        assert (refused.value.code, refused.value.field) == (code, "decision")
    assert decide(story.state, DecideToolCall("call", "time_out"), context)
    assert decide(story.state, DecideToolCall("call", "reject"), context)


def test_an_approved_call_runs_and_leaves_its_result_and_cost() -> None:
    story = waiting()
    story.tell(DecideToolCall("call", "approve"))

    story.tell(FinishToolCall("call", "executing", cost=1))
    assert story.state.pending_tool_calls[0].attempts == 1
    story.tell(FinishToolCall("call", "succeeded", raw({"paid": True}), cost=2))

    (call,) = story.state.pending_tool_calls
    assert (call.status, call.attempts, call.cost) == ("succeeded", 1, 3)
    assert call.result == raw({"paid": True})


def test_a_failed_call_may_be_tried_again() -> None:
    story = waiting()
    story.tell(DecideToolCall("call", "approve"))
    for outcome in ("executing", "failed", "executing", "succeeded"):
        story.tell(FinishToolCall("call", outcome))

    assert story.state.pending_tool_calls[0].attempts == 2


def test_a_call_and_its_cost_are_counted_for_the_conversation_and_the_bot() -> None:
    story = waiting()
    story.tell(DecideToolCall("call", "approve"))
    story.tell(FinishToolCall("call", "succeeded", cost=7))

    stats = story.state.stats
    assert (stats.tool_calls, stats.credits) == (1, 7)
    assert [(bot.bot, bot.tool_calls, bot.credits) for bot in stats.bots] == [("scout", 1, 7)]


def test_a_cost_that_is_reported_after_its_bot_has_gone_still_reaches_the_total() -> None:
    story = waiting()
    story.tell(RemoveParticipant("scout"))
    story.tell(FinishToolCall("call", "cancelled", cost=7))

    assert (story.state.stats.credits, story.state.stats.bots) == (7, ())


def test_a_delayed_call_runs_when_it_is_due_and_not_before() -> None:
    story = Story(Config(scheduling=Scheduling(default_delay_ms=2_500)))
    story.tell(RequestToolCall("look", "scout", id="call"))

    # A second passes between two commands of a story, told or refused.
    assert refusal(story, FinishToolCall("call", "executing")) == ("not_due", "outcome")
    story.says("ada")
    story.says("ada")
    story.tell(FinishToolCall("call", "executing"))

    assert story.state.pending_tool_calls[0].status == "executing"


def test_the_delay_of_a_call_that_waits_for_approval_begins_with_it() -> None:
    delays = raw({"pay": 2_000})
    story = Story(Config(scheduling=Scheduling(requires_approval="all", tool_delays=delays)))
    story.tell(RequestToolCall("pay", "scout", id="call"))
    story.says("ada")

    story.tell(DecideToolCall("call", "approve"))

    (call,) = story.state.pending_tool_calls
    assert call.due_at == story.at + timedelta(seconds=2)


def test_only_calls_whose_time_to_approve_ends_are_timed() -> None:
    patient = Scheduling(requires_approval=("ask",), auto_reject_on_timeout=False)
    story = Story(Config(scheduling=patient))
    story.tell(RequestToolCall("ask", "scout", id="patient"))
    assert (story.state.pending_tool_calls[0].due_at, awaited(story.state)) == (None, ())

    story = waiting()
    assert [call.id for call in awaited(story.state)] == ["call"]
    story.tell(DecideToolCall("call", "approve"))
    assert awaited(story.state) == ()

    story = waiting()
    story.tell(ChangeStatus("complete"))
    assert awaited(story.state) == ()


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
    story = waiting(Limits(tool_calls_per_response=CAPS.tool_calls_per_response, tool_calls=100))
    for number in range(bounds.TOOL_CALLS - 1):
        story.tell(RequestToolCall("look", "scout", id=f"call-{number}"))
        story.says("scout")
    assert refusal(story, RequestToolCall("look", "scout")) == ("too_many", "tool")
    story.tell(FinishToolCall("call-3", "succeeded"))

    story.tell(RequestToolCall("look", "scout", id="one-more"))

    ids = [call.id for call in story.state.pending_tool_calls]
    assert len(ids) == bounds.TOOL_CALLS
    assert "call-3" not in ids
    assert ids[-1] == "one-more"
