"""Branches: a new conversation that begins with the state of another one at a point.

What its members share goes along, with the window of recent turns. What the other one is about to
do or has used does not: its open tool calls stay its own, so that none is made twice, and the
statistics begin anew with the turns that were taken along.
"""

from __future__ import annotations

from msgspec.structs import replace

from src.state.models import Context, Entry, Meta
from src.swarm.rules.tool_calls import OPEN
from src.swarm.shapes.commands import Branch
from src.swarm.shapes.config import Parent
from src.swarm.shapes.events import Branched, MessageAdded
from src.swarm.shapes.models import ConversationState


def branch_of(entry: Entry[ConversationState], id: str) -> Branch:
    """Return the command that begins the conversation `id` where the other one was."""
    return Branch(id, Parent(entry.id, entry.version.seq), entry.state)


def begin(command: Branch, context: Context) -> tuple[Branched | MessageAdded, ...]:
    """Decide the beginning of a branch: what is shared, then the recent turns one by one."""
    source = command.state
    shared = Branched(
        id=command.id,
        config=replace(source.config, parent=command.parent),
        participants=source.participants,
        team=source.team,
        available_tools=source.available_tools,
        blackboard=source.blackboard,
        subtasks=source.subtasks,
        pending_tool_calls=tuple(
            call for call in source.pending_tool_calls if call.status not in OPEN
        ),
        baton=source.baton,
    )
    turns = (MessageAdded(replace(message, seq=0)) for message in source.messages)
    return (shared, *turns)


def first(event: Branched, meta: Meta) -> ConversationState:
    """Fold the beginning of a branch."""
    return ConversationState(
        id=event.id,
        version=meta.version,
        created_at=meta.at,
        updated_at=meta.at,
        created_by=meta.actor,
        config=event.config,
        participants=event.participants,
        team=event.team,
        available_tools=event.available_tools,
        blackboard=event.blackboard,
        subtasks=event.subtasks,
        pending_tool_calls=event.pending_tool_calls,
        baton=event.baton,
    )
