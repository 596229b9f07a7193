"""Subtasks: the pieces of the goal, who works on them, and which wait for which."""

from __future__ import annotations

from src.state.errors import Refused
from src.state.models import Context
from src.swarm.rules.members import member
from src.swarm.shapes import bounds
from src.swarm.shapes.events import SubtaskDeleted, SubtaskSet
from src.swarm.shapes.models import ConversationState, Subtask
from src.swarm.shapes.work import DeleteSubtask, SetSubtask


def assign(
    state: ConversationState, command: SetSubtask, context: Context
) -> tuple[SubtaskSet, ...]:
    """Decide a new or changed subtask; nothing if it is so already.

    Raises:
        Refused: assignee not a member, a dependency that does not exist or leads back here.
    """
    others = {subtask.id: subtask for subtask in state.subtasks}
    known = others.pop(command.id, None)
    if known is None and len(others) >= bounds.SUBTASKS:
        detail = f"{bounds.SUBTASKS} subtasks exist; delete one that is done"
        raise Refused("too_many", detail, field="id")
    assignee = command.assignee
    if assignee is not None and (known is None or known.assignee != assignee):
        member(state, assignee, "assignee")
    for index, needed in enumerate(command.depends_on):
        if needed not in others:
            detail = f"subtask {command.id} cannot depend on {needed}: there is no such other one"
            raise Refused("unknown_subtask", detail, field=f"depends_on[{index}]")
    if _leads_to(command.id, command.depends_on, others):
        detail = f"subtask {command.id} would wait for itself; drop one of its dependencies"
        raise Refused("subtask_cycle", detail, field="depends_on")
    subtask = Subtask(
        id=command.id,
        description=command.description,
        created_at=context.at if known is None else known.created_at,
        status=command.status,
        assignee=assignee,
        depends_on=command.depends_on,
        priority=command.priority,
    )
    return () if subtask == known else (SubtaskSet(subtask),)


def delete(state: ConversationState, command: DeleteSubtask) -> SubtaskDeleted:
    """Decide that a subtask goes.

    Raises:
        Refused: there is none, or another one depends on it.
    """
    if all(subtask.id != command.id for subtask in state.subtasks):
        detail = f"there is no subtask {command.id} in conversation {state.id}"
        raise Refused("unknown_subtask", detail, field="id")
    for subtask in state.subtasks:
        if command.id in subtask.depends_on:
            detail = f"subtask {subtask.id} depends on {command.id}; change that one first"
            raise Refused("in_use", detail, field="id")
    return SubtaskDeleted(command.id)


def assigned(state: ConversationState, event: SubtaskSet) -> tuple[Subtask, ...]:
    """Fold the new value of a subtask: in its place, or at the end."""
    new = event.subtask
    if any(known.id == new.id for known in state.subtasks):
        return tuple(new if known.id == new.id else known for known in state.subtasks)
    return (*state.subtasks, new)


def deleted(state: ConversationState, event: SubtaskDeleted) -> tuple[Subtask, ...]:
    """Fold a deletion."""
    return tuple(known for known in state.subtasks if known.id != event.id)


def _leads_to(target: str, starts: tuple[str, ...], subtasks: dict[str, Subtask]) -> bool:
    waiting, seen = list(starts), set(starts)
    while waiting:
        subtask = subtasks.get(waiting.pop())
        for needed in () if subtask is None else subtask.depends_on:
            if needed == target:
                return True
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return False
