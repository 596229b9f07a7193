"""Tool calls on their way: asked for, approved or scheduled, running, done.

    pending_approval -> approved | rejected_by_user | rejected_by_timeout
    scheduled, approved -> executing -> succeeded | failed      cancelled from all that are open

Calls that are over stay visible until newer ones need their place.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context, Meta, event_id
from src.swarm import bounds, free_json, inheritance
from src.swarm.commands import DecideToolCall, FinishToolCall, RequestToolCall
from src.swarm.events import ToolCallDecided, ToolCallProgressed, ToolCallRequested
from src.swarm.inheritance import EffectiveScheduling
from src.swarm.members import bot
from src.swarm.models import (
    ConversationState,
    PendingToolCall,
    ToolCallStatus,
)

OPEN: frozenset[ToolCallStatus] = frozenset(
    ("pending_approval", "scheduled", "approved", "executing")
)
_DECISIONS: dict[str, ToolCallStatus] = {
    "approve": "approved",
    "reject": "rejected_by_user",
    "time_out": "rejected_by_timeout",
}
_BEFORE: dict[ToolCallStatus, frozenset[ToolCallStatus]] = {
    "executing": frozenset(("scheduled", "approved")),
    "succeeded": frozenset(("scheduled", "approved", "executing")),
    "failed": frozenset(("scheduled", "approved", "executing")),
    "cancelled": OPEN,
}


def request(
    state: ConversationState, command: RequestToolCall, context: Context
) -> ToolCallRequested:
    """Decide a call: waiting for a person where the scheduling asks for one, else scheduled."""
    bot(state, command.caller, "caller")
    call_id = command.id or event_id(context.key, 0)
    if any(call.id == call_id for call in state.pending_tool_calls):
        raise Refused("exists", f"tool call {call_id} is already there", field="id")
    if sum(call.status in OPEN for call in state.pending_tool_calls) >= bounds.TOOL_CALLS:
        detail = f"{bounds.TOOL_CALLS} tool calls are open; decide or cancel one"
        raise Refused("too_many", detail, field="tool")
    scheduling = inheritance.scheduling(state.config)
    waits = needs_approval(scheduling, command.tool)
    wait_s = scheduling.approval_timeout_s if waits else delay_s(scheduling, command.tool)
    return ToolCallRequested(
        PendingToolCall(
            id=call_id,
            tool=command.tool,
            caller=command.caller,
            requested_at=context.at,
            arguments=free_json.accept_map(command.arguments, dict[str, Any], "arguments"),
            status="pending_approval" if waits else "scheduled",
            due_at=context.at + timedelta(seconds=wait_s),
        )
    )


def decide_call(state: ConversationState, command: DecideToolCall) -> tuple[ToolCallDecided, ...]:
    """Decide an approval or rejection; the same decision again changes nothing."""
    call, status = _known(state, command.id), _DECISIONS[command.decision]
    if call.status == status:
        return ()
    if call.status != "pending_approval":
        detail = f"tool call {call.id} is {call.status} and waits for no decision"
        raise Refused("wrong_status", detail, field="decision")
    return (ToolCallDecided(call.id, status, command.reason),)


def finish(state: ConversationState, command: FinishToolCall) -> tuple[ToolCallProgressed, ...]:
    """Decide how far a call has come; the same report again changes nothing."""
    call = _known(state, command.id)
    if call.status == command.outcome:
        return ()
    if call.status not in _BEFORE[command.outcome]:
        detail = f"tool call {call.id} is {call.status}; it cannot become {command.outcome}"
        raise Refused("wrong_status", detail, field="outcome")
    result = free_json.accept(command.result, "result")
    return (ToolCallProgressed(call.id, command.outcome, result, command.error, command.cost),)


def needs_approval(scheduling: EffectiveScheduling, tool: str) -> bool:
    """Say whether a person has to approve calls of this tool."""
    rule = scheduling.requires_approval
    if isinstance(rule, str):
        return rule == "all"
    return tool in rule


def delay_s(scheduling: EffectiveScheduling, tool: str) -> float:
    """Return how long a call of this tool waits before it runs, in seconds."""
    delays = free_json.read(scheduling.tool_delays)
    return float(delays.get(tool, scheduling.default_delay_ms)) / 1_000


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
        state, event.id, status=event.status, reason=event.reason, decided_by=meta.actor
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
