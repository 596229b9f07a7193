"""The conversation as a kind of aggregate, and the read model derived from it."""

from __future__ import annotations

from typing import Any

from src.state.models import Entry
from src.state.protocols import Kind, ReadModel
from src.swarm.rules.members import whose
from src.swarm.rules.tool_calls import awaited
from src.swarm.rules.transitions import decide, fold
from src.swarm.shapes.codec import decode_event, decode_state, describe, encode_event, encode_state
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import SCHEMA, ConversationState

MESSAGE_ADDED = "message_added"
DELETED = "deleted"
_LAST_TEXT_CHARS = 200


def _summary(entry: Entry[ConversationState]) -> tuple[Any, ...]:
    state = entry.state
    members = [whose(member) for member in state.participants]
    last = state.messages[-1].text[:_LAST_TEXT_CHARS] if state.messages else ""
    return (
        state.id,
        entry.version.seq,
        state.status,
        state.config.goal,
        state.created_by,
        members,
        state.stats.turns,
        last,
        state.created_at,
        state.updated_at,
        state.status == "running" or _awaits(state),
        entry.version.seq,
    )


def _awaits(state: ConversationState) -> bool:
    """Whether the owner has to act: on a tool call when its time is over, on a speech's end."""
    return state.speech is not None or (bool(state.pending_tool_calls) and bool(awaited(state)))


CONVERSATIONS: Kind[ConversationState, Command] = Kind(
    name="conversation",
    heads="conversations",
    events="events",
    snapshots="snapshots",
    schema=SCHEMA,
    decide=decide,
    fold=fold,
    encode_state=encode_state,
    decode_state=decode_state,
    encode_event=encode_event,
    decode_event=decode_event,
    describe_event=describe,
    awaits=_awaits,
    read_models=(
        ReadModel(
            table="conversation_summaries",
            columns=(
                "conversation_id",
                "seq",
                "status",
                "goal",
                "created_by",
                "members",
                "turns",
                "last_text",
                "created_at",
                "updated_at",
                "live",
                "live_seq",
            ),
            row=_summary,
            live=("live", True),
            live_seq="live_seq",
        ),
    ),
)
