"""The blackboard: values that all bots share, and the six operations on them.

A command's operations apply in one order, however they are written (set, append, increment, merge,
deep_merge, delete), and either all or none. The event holds the resulting values.
"""

from __future__ import annotations

from typing import Any

from src.state.errors import Refused
from src.state.models import Meta
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.events import BlackboardChanged, Value
from src.swarm.shapes.free_json import Json
from src.swarm.shapes.models import BlackboardItem, ConversationState
from src.swarm.shapes.work import Assignment, EditBlackboard, Increment

_EXACT = 2**53
"""Up to here every whole number is a double, so that all clients read the same one."""

_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}


def edit(state: ConversationState, command: EditBlackboard) -> tuple[BlackboardChanged, ...]:
    """Decide what the items are after the command; nothing if they are the same.

    Raises:
        Refused: `wrong_type`, `too_large`, `too_many` or `invalid`, naming operation and place.
    """
    before = {item.id: item.value for item in state.blackboard}
    board = _Board(before)
    for index, assignment in enumerate(command.set):
        board.write(assignment.id, _value(assignment, f"set[{index}].value"), f"set[{index}]")
    for index, assignment in enumerate(command.append):
        _append(board, assignment, f"append[{index}]")
    for index, increment in enumerate(command.increment):
        _increment(board, increment, f"increment[{index}]")
    for index, assignment in enumerate(command.merge):
        _merge(board, assignment, f"merge[{index}]", deep=False)
    for index, assignment in enumerate(command.deep_merge):
        _merge(board, assignment, f"deep_merge[{index}]", deep=True)
    for name in command.delete:
        board.values.pop(name, None)
    return _difference(before, board)


def changed(
    state: ConversationState, event: BlackboardChanged, meta: Meta
) -> tuple[BlackboardItem, ...]:
    """Fold new values and deletions; items keep their places, new ones go to the end."""
    values = {value.id: value.value for value in event.values}
    gone = frozenset(event.deleted)
    kept = tuple(
        BlackboardItem(item.id, values.pop(item.id), meta.at, meta.actor)
        if item.id in values
        else item
        for item in state.blackboard
        if item.id not in gone
    )
    return kept + tuple(
        BlackboardItem(name, value, meta.at, meta.actor) for name, value in values.items()
    )


class _Board:
    """The items while a command works on them: still bytes, parsed where an operation looks."""

    def __init__(self, before: dict[str, Any]) -> None:
        self.values: dict[str, Any] = dict(before)

    def read(self, name: str, default: Json) -> Json:
        if name not in self.values:
            return default
        return free_json.read(self.values[name])

    def write(self, name: str, value: Json, field: str) -> None:
        self.values[name] = free_json.accept_value(value, field)


def _value(assignment: Assignment, field: str) -> Json:
    return free_json.read(free_json.accept(assignment.value, field))


def _append(board: _Board, assignment: Assignment, field: str) -> None:
    items = board.read(assignment.id, [])
    if not isinstance(items, list):
        raise _wrong(field, assignment.id, items, "a list")
    board.write(assignment.id, [*items, _value(assignment, f"{field}.value")], field)


def _increment(board: _Board, increment: Increment, field: str) -> None:
    number = board.read(increment.id, 0)
    if not free_json.is_number(number):
        raise _wrong(field, increment.id, number, "a number")
    # Compared first: Python cannot add a fraction to a whole number beyond all floats.
    total = number + increment.by if abs(number) <= _EXACT else number
    if abs(total) > _EXACT:
        detail = f"{field}: {increment.id} would leave the numbers that JSON holds exactly"
        raise Refused("too_large", detail, field=f"{field}.by")
    board.write(increment.id, total, field)


def _merge(board: _Board, assignment: Assignment, field: str, *, deep: bool) -> None:
    fields = _value(assignment, f"{field}.value")
    if not isinstance(fields, dict):
        raise _wrong(f"{field}.value", "the value", fields, "an object")
    target = board.read(assignment.id, {})
    if not isinstance(target, dict):
        raise _wrong(field, assignment.id, target, "an object")
    board.write(assignment.id, _deep(target, fields) if deep else target | fields, field)


def _deep(target: Json, fields: Json) -> Json:
    if not (isinstance(target, dict) and isinstance(fields, dict)):
        return fields
    merged = dict(target)
    for name, value in fields.items():
        merged[name] = _deep(target[name], value) if name in target else value
    return merged


def _wrong(field: str, name: str, found: Json, wanted: str) -> Refused:
    kind = _KINDS.get(type(found), "null" if found is None else "a number")
    return Refused("wrong_type", f"{field}: {name} is {kind}, not {wanted}", field=field)


def _difference(before: dict[str, Any], board: _Board) -> tuple[BlackboardChanged, ...]:
    after = board.values
    if len(after) > bounds.BLACKBOARD_ITEMS:
        detail = f"the blackboard would have {len(after)} items, at most {bounds.BLACKBOARD_ITEMS}"
        raise Refused("too_many", f"{detail} fit; delete some")
    values = tuple(Value(name, value) for name, value in after.items() if before.get(name) != value)
    deleted = tuple(name for name in before if name not in after)
    return (BlackboardChanged(values, deleted),) if values or deleted else ()
