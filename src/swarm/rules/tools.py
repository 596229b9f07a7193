"""The tools of bots, and those that every bot has: a call of one becomes a command on the
conversation.

One that needs approval, or has a delay, waits in the state first; then its owner runs it. Bots of
a lesson have those of `lesson_tools` too, but for any that the conversation has under such a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw

from src.state.errors import Refused
from src.swarm.configs.bots import BotTool
from src.swarm.providers import ToolCall
from src.swarm.rules import arguments, lesson_tools
from src.swarm.rules.arguments import Arguments
from src.swarm.rules.lessons import Taught
from src.swarm.shapes.bounds import Id, Note
from src.swarm.shapes.commands import Command, PassBaton
from src.swarm.shapes.models import ConversationState, SubtaskPriority, SubtaskStatus, Tool
from src.swarm.shapes.work import Assignment, EditBlackboard, Increment, SetSubtask


class _Assign(Arguments, frozen=True, gc=False):
    id: Id
    value: Raw


class _Add(Arguments, frozen=True, gc=False):
    id: Id
    by: int | float = 1


class _Name(Arguments, frozen=True, gc=False):
    id: Id


class _Pass(Arguments, frozen=True, gc=False):
    to: Id | None = None


class _Subtask(Arguments, frozen=True, gc=False):
    """A field that is not given keeps its value, or in a new subtask gets the default."""

    id: Id
    description: Note | None = None
    status: SubtaskStatus | None = None
    assignee: Id | None = None
    depends_on: tuple[Id, ...] | None = None
    priority: SubtaskPriority | None = None


def tools_of(
    state: ConversationState, taught: Taught | None, own: Sequence[BotTool] = ()
) -> tuple[Tool, ...]:
    """Return what a bot of a conversation may call: `taught` is its lesson, if it is one, and `own`
    the tools of the bot's config. What the conversation has under a name counts there."""
    more = () if taught is None else lesson_tools.TOOLS
    ours = tuple(tool for tool in more if is_built_in(state, tool.name))
    shared = (*BUILT_IN, *ours, *state.available_tools)
    taken = {tool.name for tool in shared}
    return shared + tuple(
        Tool(tool.name, tool.description, tool.input_schema, category=tool.kind)
        for tool in own
        if tool.name not in taken
    )


def is_built_in(state: ConversationState, name: str) -> bool:
    """Say whether a call of this tool is made here, and not by whoever reports on it."""
    if name in lesson_tools.NAMES:
        return all(tool.name != name for tool in state.available_tools)
    return name in _TOOLS


def command_for(
    state: ConversationState, call: ToolCall, taught: Taught | None = None
) -> Command | None:
    """Return what the call asks of the conversation; None: the tool is none of these.

    Raises:
        Refused: arguments that the tool does not take, with the place; or the lesson refuses it.
    """
    if not is_built_in(state, call.name):
        return None
    if call.name in lesson_tools.NAMES:
        return lesson_tools.command(call, taught)
    _, kind, build = _TOOLS[call.name]
    return build(state, arguments.given(call, kind))


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


_KEPT = ("description", "status", "assignee", "depends_on", "priority")

# Each builder takes the struct named beside it: the table pairs them, which no type can say.
_Builder = Callable[[ConversationState, Any], Command]
_TOOLS: dict[str, tuple[str, type[Arguments], _Builder]] = {
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


BUILT_IN: tuple[Tool, ...] = tuple(
    Tool(name, description, arguments.schema(kind), category="swarm")
    for name, (description, kind, _) in _TOOLS.items()
)
