"""Statuses of a conversation, and which action leads from which to which.

    ready <-> running     start, stop
    paused, suspended     from ready or running; resume leads back to ready
    completed, failed, cancelled   from any of them, and final
    deleted               from any, and nothing follows

`uninitialized` and `loading` are what a reader shows before it has a state; no event leads there.
"""

from __future__ import annotations

import msgspec

from src.state.errors import NotFound, Refused
from src.state.models import Meta
from src.swarm.shapes.commands import (
    BEGINNINGS,
    ChangeStatus,
    Command,
    CountUsage,
    Delete,
    SummariseSession,
)
from src.swarm.shapes.events import Deleted, StatusChanged
from src.swarm.shapes.models import ConversationState, Status

FINAL: frozenset[Status] = frozenset(("completed", "failed", "cancelled"))
_LIVE: frozenset[Status] = frozenset(("ready", "running", "paused", "suspended"))
_LAST = (Delete, CountUsage, SummariseSession)
_AWAKE: frozenset[Status] = frozenset(("ready", "running"))

_ACTIONS: dict[str, tuple[frozenset[Status], Status]] = {
    "start": (frozenset(("ready",)), "running"),
    "stop": (frozenset(("running",)), "ready"),
    "pause": (_AWAKE, "paused"),
    "suspend": (_AWAKE, "suspended"),
    "resume": (frozenset(("paused", "suspended")), "ready"),
    "complete": (_LIVE, "completed"),
    "fail": (_LIVE, "failed"),
    "cancel": (_LIVE, "cancelled"),
}


def admit(state: ConversationState, command: Command) -> None:
    """Let a command through to its own rules, unless the conversation is over.

    A finished conversation still takes its deletion, the bill of its last turn, and what its room
    was.

    Raises:
        NotFound: deleted.
        Refused: finished.
    """
    if state.status in _LIVE or (is_over(state) and isinstance(command, _LAST)):
        return
    if state.status == "deleted" and isinstance(command, BEGINNINGS):
        detail = f"conversation {state.id} was deleted, and ids are not used again; take another"
        raise Refused("exists", detail, field="id")
    if state.status == "deleted":
        raise NotFound("conversation", state.id)
    raise Refused("finished", f"conversation {state.id} is {state.status}; branch it to go on")


def is_over(state: ConversationState) -> bool:
    """Say whether the conversation has ended and was not deleted."""
    return state.status in FINAL


def change_status(state: ConversationState, command: ChangeStatus) -> tuple[StatusChanged, ...]:
    """Decide an action; one that leads to where the conversation already is changes nothing."""
    sources, target = _ACTIONS[command.action]
    if state.status == target:
        return ()
    if state.status not in sources:
        detail = (
            f"{command.action} needs a conversation that is {' or '.join(sorted(sources))};"
            f" {state.id} is {state.status}"
        )
        raise Refused("wrong_status", detail, field="action")
    return (StatusChanged(target, command.reason),)


def delete(state: ConversationState) -> Deleted:
    """Decide the end of a conversation."""
    return Deleted(state.id, state.created_by, state.created_at)


def deleted() -> dict[str, object]:
    """Forget all but the id, its dates and its creator."""
    blank = {
        field.name: field.default
        for field in msgspec.structs.fields(ConversationState)
        if not field.required
    }
    return blank | {"status": "deleted"}


def erased(event: Deleted, meta: Meta) -> ConversationState:
    """Return what is left of a conversation whose earlier events were erased: the same."""
    return ConversationState(
        id=event.id or meta.aggregate_id,
        version=meta.version,
        created_at=event.created_at or meta.at,
        updated_at=meta.at,
        created_by=event.created_by or meta.actor,
        status="deleted",
    )
