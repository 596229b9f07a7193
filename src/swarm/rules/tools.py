"""The tools that every bot has: a call of one becomes a command on the conversation.

One that needs approval, or has a delay, waits in the state first; then its owner runs it.

The input types are both the schemas that a model is shown and the checks its arguments must pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.providers import ToolCall
from src.swarm.shapes import free_json
from src.swarm.shapes.bounds import Id, Note
from src.swarm.shapes.commands import Command, PassBaton
from src.swarm.shapes.models import ConversationState, SubtaskPriority, SubtaskStatus, Tool
from src.swarm.shapes.work import Assignment, EditBlackboard, Increment, SetSubtask


class _Arguments(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Arguments of a tool."""


class _Assign(_Arguments, frozen=True, gc=False):
    id: Id
    value: Raw


class _Add(_Arguments, frozen=True, gc=False):
    id: Id
    by: int | float = 1


class _Name(_Arguments, frozen=True, gc=False):
    id: Id


class _Pass(_Arguments, frozen=True, gc=False):
    to: Id | None = None


class _Subtask(_Arguments, frozen=True, gc=False):
    """A field that is not given keeps its value, or in a new subtask gets the default."""

    id: Id
    description: Note | None = None
    status: SubtaskStatus | None = None
    assignee: Id | None = None
    depends_on: tuple[Id, ...] | None = None
    priority: SubtaskPriority | None = None


def command_for(state: ConversationState, call: ToolCall) -> Command | None:
    """Return what the call asks of the conversation; None: the tool is none of these.

    Raises:
        Refused: arguments that the tool does not take; names the place.
    """
    known = _TOOLS.get(call.name)
    if known is None:
        return None
    _, kind, build = known
    try:
        arguments = msgspec.json.decode(call.arguments, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        field = free_json.place(exc, "arguments")
        raise Refused("invalid", f"{call.name}: {exc}", field=field) from exc
    return build(state, arguments)


def _set_subtask(state: ConversationState, given: _Subtask) -> SetSubtask:
    known = next((subtask for subtask in state.subtasks if subtask.id == given.id), None)
    kept: dict[str, Any] = {}
    if known is not None:
        kept = {name: getattr(known, name) for name in _KEPT}
    kept |= {name: value for name in _KEPT if (value := getattr(given, name)) is not None}
    if "description" not in kept:
        detail = f"subtask {given.id} is new; describe it"
        raise Refused("invalid", detail, field="arguments.description")
    return SetSubtask(given.id, **kept)


_SHOWN = ("type", "properties", "required", "additionalProperties")
_KEPT = ("description", "status", "assignee", "depends_on", "priority")

# Each builder takes the struct named beside it: the table pairs them, which no type can say.
_Builder = Callable[[ConversationState, Any], Command]
_TOOLS: dict[str, tuple[str, type[_Arguments], _Builder]] = {
    "blackboard_set": (
        "Write a value on the blackboard, where all bots see it.",
        _Assign,
        lambda _, given: EditBlackboard(set=(Assignment(given.id, given.value),)),
    ),
    "blackboard_append": (
        "Add a value to a list on the blackboard.",
        _Assign,
        lambda _, given: EditBlackboard(append=(Assignment(given.id, given.value),)),
    ),
    "blackboard_increment": (
        "Add to a number on the blackboard.",
        _Add,
        lambda _, given: EditBlackboard(increment=(Increment(given.id, given.by),)),
    ),
    "blackboard_delete": (
        "Remove a value from the blackboard.",
        _Name,
        lambda _, given: EditBlackboard(delete=(given.id,)),
    ),
    "subtask_set": (
        "Create a subtask, or change the given fields of one.",
        _Subtask,
        _set_subtask,
    ),
    "pass_baton": (
        "Hand the conversation to another bot, or with no name back to everybody.",
        _Pass,
        lambda _, given: PassBaton(given.to),
    ),
}


def _schema(kind: type[_Arguments]) -> Raw:
    _, definitions = msgspec.json.schema_components([kind])
    schema = definitions[kind.__name__]
    return free_json.write({name: schema[name] for name in _SHOWN if name in schema})


BUILT_IN: tuple[Tool, ...] = tuple(
    Tool(name, description, _schema(kind), category="swarm")
    for name, (description, kind, _) in _TOOLS.items()
)
BUILT_IN_NAMES = frozenset(_TOOLS)
