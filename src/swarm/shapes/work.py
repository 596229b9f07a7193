"""Shared work: the commands about the blackboard, subtasks, and calls of tools."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw

from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.bounds import Count, Id, Name, Note
from src.swarm.shapes.free_json import EMPTY, NULL, Object
from src.swarm.shapes.inputs import Asking, Input
from src.swarm.shapes.models import SubtaskPriority, SubtaskStatus


class Assignment(Input, frozen=True, gc=False):
    """A blackboard item's id and a JSON value of at most 16 KiB."""

    id: Id
    value: Raw


_Assignments = Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)]
_Merges = Annotated[_Assignments, Meta(extra_json_schema=free_json.ITEMS_OF_OBJECTS)]


class Increment(Input, frozen=True, gc=False):
    """A blackboard item's id and the number to add."""

    id: Id
    by: (
        Annotated[int, Meta(ge=-(2**53), le=2**53)]
        | Annotated[float, Meta(ge=-(2.0**53), le=2.0**53)]
    ) = 1


class EditBlackboard(Asking, frozen=True, gc=False, tag="blackboard"):
    """Change items, in this order: set, append, increment, merge, deep_merge, delete.

    All of it or nothing: a value of the wrong type refuses the command.
    """

    set: _Assignments = ()
    append: _Assignments = ()
    """To a list, or to a new one."""
    increment: Annotated[tuple[Increment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()
    merge: _Merges = ()
    """The fields of an object over those of the item."""
    deep_merge: _Merges = ()
    """The same at every depth."""
    delete: Annotated[tuple[Id, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()


class SetSubtask(Asking, frozen=True, gc=False, tag="set_subtask"):
    """Create the subtask, or replace all of it but its time of creation."""

    id: Id
    description: Note
    status: SubtaskStatus = "todo"
    assignee: Id | None = None
    depends_on: Annotated[tuple[Id, ...], Meta(max_length=50)] = ()
    priority: SubtaskPriority = "medium"


class DeleteSubtask(Asking, frozen=True, gc=False, tag="delete_subtask"):
    """Delete a subtask that no other one depends on."""

    id: Id


class RequestToolCall(Asking, frozen=True, gc=False, tag="request_tool_call"):
    """A bot wants to call a tool; `scheduling` says whether a person has to approve it."""

    tool: Name
    caller: Id
    arguments: Object = EMPTY
    id: Id | None = None


class DecideToolCall(Asking, frozen=True, gc=False, tag="decide_tool_call"):
    """Approve or reject a waiting call; `time_out` is the decision of nobody in time."""

    id: Id
    decision: Literal["approve", "reject", "time_out"]
    reason: Note = ""


class FinishToolCall(Asking, frozen=True, gc=False, tag="finish_tool_call"):
    """Report how a call went."""

    id: Id
    outcome: Literal["executing", "succeeded", "failed", "cancelled"]
    result: Raw = NULL
    error: Note = ""
    cost: Count = 0
