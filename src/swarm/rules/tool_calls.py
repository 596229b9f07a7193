"""Tool calls on their way: asked for, approved or scheduled, running, done.

    pending_approval -> approved | rejected_by_user | rejected_by_timeout
    scheduled, approved -> executing -> succeeded | failed      cancelled from all that are open
    failed -> executing                                         another attempt

A call counts when it is asked for, its cost when that is reported.
Calls that are over stay visible until newer ones need their place.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context, Meta, event_id
from src.swarm.configs import inheritance
from src.swarm.configs.inheritance import EffectiveScheduling
from src.swarm.rules import budget
from src.swarm.rules.lifecycle import FINAL
from src.swarm.rules.members import bot
from src.swarm.rules.tools import is_built_in
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.events import (
    ToolCallDecided,
    ToolCallProgressed,
    ToolCallRequested,
    UsageCounted,
)
from src.swarm.shapes.models import (
    ConversationState,
    PendingToolCall,
    ToolCallStatus,
)
from src.swarm.shapes.work import DecideToolCall, FinishToolCall, RequestToolCall

CLOCKS_AGREE_S = 5.0
"""How far the times of day of two servers may be apart. A server that goes on with a call of
another one takes so much longer for it, and acts too early only where they are apart more."""

OPEN: frozenset[ToolCallStatus] = frozenset(
    ("pending_approval", "scheduled", "approved", "executing")
)
_DECISIONS: dict[str, ToolCallStatus] = {
    "approve": "approved",
    "reject": "rejected_by_user",
    "time_out": "rejected_by_timeout",
}
_BEFORE: dict[ToolCallStatus, frozenset[ToolCallStatus]] = {
    "executing": frozenset(("scheduled", "approved", "failed")),
    "succeeded": frozenset(("scheduled", "approved", "executing")),
    "failed": frozenset(("scheduled", "approved", "executing")),
    "cancelled": OPEN,
}


def request(
    state: ConversationState, command: RequestToolCall, context: Context
) -> tuple[ToolCallRequested, UsageCounted]:
    """Decide a call: waiting for a person where the scheduling asks for one, else scheduled.

    Raises:
        Refused: the caller is no bot here, the id is taken, too many are open, or a limit is
            reached (`limit_...`, see `budget.py`).
    """
    bot(state, command.caller, "caller")
    call_id = command.id or event_id(context.key, 0)
    if any(call.id == call_id for call in state.pending_tool_calls):
        raise Refused("exists", f"tool call {call_id} is already there", field="id")
    if sum(call.status in OPEN for call in state.pending_tool_calls) >= bounds.TOOL_CALLS:
        detail = f"{bounds.TOOL_CALLS} tool calls are open; decide or cancel one"
        raise Refused("too_many", detail, field="tool")
    budget.check_tool_call(state, command.caller)
    scheduling = inheritance.scheduling(state.config)
    waits = needs_approval(scheduling, command.tool)
    delay = delay_ms(scheduling, command.tool)
    due_at: datetime | None = context.at + timedelta(milliseconds=delay)
    if waits:
        ends = scheduling.auto_reject_on_timeout
        patience = timedelta(seconds=scheduling.approval_timeout_s)
        due_at = context.at + patience if ends else None
    call = PendingToolCall(
        id=call_id,
        tool=command.tool,
        caller=command.caller,
        requested_at=context.at,
        arguments=free_json.accept_map(command.arguments, dict[str, Any], "arguments"),
        status="pending_approval" if waits else "scheduled",
        due_at=due_at,
        delay_ms=delay,
    )
    return ToolCallRequested(call), UsageCounted(tool_calls=1, bot=command.caller)


def awaited(state: ConversationState) -> tuple[PendingToolCall, ...]:
    """Return the calls that the conversation's owner acts on by itself at their `due_at`.

    Those that wait for a decision until then, and those of built-in tools that may run then.
    """
    if state.status in FINAL:
        return ()
    return tuple(
        call
        for call in state.pending_tool_calls
        if call.due_at is not None
        and (
            call.status == "pending_approval"
            or (call.status in ("scheduled", "approved") and is_built_in(state, call.tool))
        )
    )


def decide_call(
    state: ConversationState, command: DecideToolCall, context: Context
) -> tuple[ToolCallDecided, ...]:
    """Decide an approval or rejection; the same decision again changes nothing.

    Raises:
        Refused: no such call, it waits for no decision, or `timed_out`: nobody owned it when its
            time was over, and an approval comes too late.
    """
    call, status = _known(state, command.id), _DECISIONS[command.decision]
    if call.status == status:
        return ()
    if call.status != "pending_approval":
        detail = f"tool call {call.id} is {call.status} and waits for no decision"
        raise Refused("wrong_status", detail, field="decision")
    due_at = None
    if status == "approved":
        _check_in_time(call, context)
        due_at = context.at + timedelta(milliseconds=call.delay_ms)
    return (ToolCallDecided(call.id, status, command.reason, due_at),)


def finish(
    state: ConversationState, command: FinishToolCall, context: Context
) -> tuple[ToolCallProgressed | UsageCounted, ...]:
    """Decide how far a call has come; the same report again changes nothing.

    Raises:
        Refused: no such call, not from where it is, or `not_due`: its delay is not over.
    """
    call = _known(state, command.id)
    if call.status == command.outcome:
        return ()
    if call.status not in _BEFORE[command.outcome]:
        detail = f"tool call {call.id} is {call.status}; it cannot become {command.outcome}"
        raise Refused("wrong_status", detail, field="outcome")
    if call.status in ("scheduled", "approved") and command.outcome != "cancelled":
        _check_due(call, context)
    result = free_json.accept(command.result, "result")
    cost = command.cost
    progressed = ToolCallProgressed(call.id, command.outcome, result, command.error, cost)
    if not cost:
        return (progressed,)
    # A call may outlive its caller: then its cost is the conversation's alone.
    caller = None if state.participant(call.caller) is None else call.caller
    return progressed, UsageCounted(credits=cost, bot=caller)


def _check_in_time(call: PendingToolCall, context: Context) -> None:
    # Where the two times may be of two machines a person gets the benefit of the doubt.
    if call.due_at is not None and context.at > call.due_at + timedelta(seconds=CLOCKS_AGREE_S):
        detail = f"tool call {call.id} waited until {call.due_at:%H:%M:%S} UTC; ask for it again"
        raise Refused("timed_out", detail, field="decision")


def _check_due(call: PendingToolCall, context: Context) -> None:
    # Both are times of this conversation's log, which never goes back.
    if call.due_at is not None and context.at < call.due_at:
        wait_s = (call.due_at - context.at).total_seconds()
        detail = f"tool call {call.id} may run in {wait_s:.1f} s; wait for its due_at"
        raise Refused("not_due", detail, field="outcome")


def must_wait(state: ConversationState, tool: str) -> bool:
    """Say whether a call of this tool waits in the state: to be approved, or for its delay."""
    scheduling = inheritance.scheduling(state.config)
    return needs_approval(scheduling, tool) or delay_ms(scheduling, tool) > 0


def needs_approval(scheduling: EffectiveScheduling, tool: str) -> bool:
    """Say whether a person has to approve calls of this tool."""
    rule = scheduling.requires_approval
    if isinstance(rule, str):
        return rule == "all"
    return tool in rule


def delay_ms(scheduling: EffectiveScheduling, tool: str) -> int:
    """Return how long a call of this tool waits before it runs, in milliseconds."""
    delays = free_json.read(scheduling.tool_delays)
    return int(delays.get(tool, scheduling.default_delay_ms))


def requested(state: ConversationState, event: ToolCallRequested) -> tuple[PendingToolCall, ...]:
    """Fold a new call; beyond the bound the oldest one that is over makes room."""
    calls = (*state.pending_tool_calls, event.call)
    if len(calls) <= bounds.TOOL_CALLS:
        return calls
    oldest = next((i for i, call in enumerate(calls) if call.status not in OPEN), 0)
    return calls[:oldest] + calls[oldest + 1 :]


def decided(
    state: ConversationState, event: ToolCallDecided, meta: Meta
) -> tuple[PendingToolCall, ...]:
    """Fold a decision, with who made it."""
    return _with_call(
        state,
        event.id,
        status=event.status,
        reason=event.reason,
        decided_by=meta.actor,
        due_at=event.due_at,
    )


def progressed(state: ConversationState, event: ToolCallProgressed) -> tuple[PendingToolCall, ...]:
    """Fold the progress of a call; each start of its execution is an attempt."""
    return tuple(
        replace(
            call,
            status=event.status,
            result=event.result,
            error=event.error,
            cost=call.cost + event.cost,
            attempts=call.attempts + (event.status == "executing"),
        )
        if call.id == event.id
        else call
        for call in state.pending_tool_calls
    )


def _with_call(
    state: ConversationState, call_id: str, **changes: object
) -> tuple[PendingToolCall, ...]:
    return tuple(
        replace(call, **changes) if call.id == call_id else call
        for call in state.pending_tool_calls
    )


def _known(state: ConversationState, call_id: str) -> PendingToolCall:
    for call in state.pending_tool_calls:
        if call.id == call_id:
            return call
    detail = f"there is no tool call {call_id} in conversation {state.id}"
    raise Refused("unknown_tool_call", detail, field="id")
