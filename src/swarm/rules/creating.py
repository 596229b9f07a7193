"""The beginning of a conversation that is nobody's branch."""

from __future__ import annotations

from src.state.models import Context, Meta
from src.swarm.rules import members
from src.swarm.shapes import bounds
from src.swarm.shapes.accepting import accepted_config, accepted_tools, accepted_values
from src.swarm.shapes.commands import Create
from src.swarm.shapes.events import Created
from src.swarm.shapes.models import BlackboardItem, ConversationState


def create(command: Create, context: Context) -> Created:
    """Decide a new conversation."""
    new = tuple(
        members.joined(participant, context.at, f"participants[{index}]")
        for index, participant in enumerate(command.participants)
    )
    bounds.unique((participant.id for participant in new), "participants[{}].id")
    return Created(
        id=command.id,
        config=accepted_config(command.config, "config"),
        participants=new,
        team=command.team,
        available_tools=accepted_tools(command.available_tools, "available_tools"),
        blackboard=accepted_values(command.blackboard, "blackboard"),
    )


def created(event: Created, meta: Meta) -> ConversationState:
    """Fold its beginning."""
    return ConversationState(
        id=event.id,
        version=meta.version,
        created_at=meta.at,
        updated_at=meta.at,
        created_by=meta.actor,
        config=event.config,
        participants=event.participants,
        available_tools=event.available_tools,
        team=event.team,
        blackboard=tuple(
            BlackboardItem(value.id, value.value, meta.at, meta.actor) for value in event.blackboard
        ),
    )
