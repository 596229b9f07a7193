"""What may be asked of a conversation: a union tagged by `type`, with every bound in the types.

Each class says how its change is written: LOGGED is in the log before it is acknowledged, BUFFERED
is cheap and may wait up to 2 s in the owner's memory. What a command does to a state is in
`transitions.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw

from src.state.models import Durability
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.bounds import Count, Id, Label, Moment, Name, Note, Priority, Text
from src.swarm.shapes.free_json import EMPTY, NULL, Object, PatchOf, holds
from src.swarm.shapes.models import (
    AuthorKind,
    Config,
    ConversationState,
    Mode,
    Parent,
    ParticipantKind,
    ParticipantState,
    Role,
    SubtaskPriority,
    SubtaskStatus,
    TeamRef,
    Tool,
    ToolUse,
)


class _Input(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a command."""


class _Command(_Input, frozen=True, gc=False, tag_field="type"):
    """A command; `durability` is the class of change that it asks for unless told otherwise."""

    durability: ClassVar[Durability] = Durability.LOGGED


# --- life of the conversation --------------------------------------------------------------------


class Assignment(_Input, frozen=True, gc=False):
    """A blackboard item's id and a JSON value of at most 16 KiB."""

    id: Id
    value: Raw


class NewParticipant(_Input, frozen=True, gc=False):
    """A member to be; `joined_at` becomes the time of the command."""

    id: Id
    kind: ParticipantKind
    name: Name
    role: Label = ""
    priority: Priority = 0
    mode: Mode = "proactive"
    user_id: Id | None = None
    tracks: Object = EMPTY


class Create(_Command, frozen=True, gc=False, tag="create"):
    """Begin the conversation `id`; it is ready at once."""

    id: Id
    config: Config = Config()
    participants: Annotated[tuple[NewParticipant, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    team: TeamRef | None = None
    available_tools: Annotated[tuple[Tool, ...], Meta(max_length=bounds.TOOLS)] = ()
    blackboard: Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()


class Branch(_Command, frozen=True, gc=False, tag="branch"):
    """Begin the conversation `id` with the state of another one; see `branching.py`."""

    id: Id
    parent: Parent
    state: ConversationState


class ChangeStatus(_Command, frozen=True, gc=False, tag="lifecycle"):
    """Start, stop, pause, suspend, resume, or end the conversation; see `lifecycle.py`."""

    action: Literal["start", "stop", "pause", "suspend", "resume", "complete", "fail", "cancel"]
    reason: Note = ""


class Delete(_Command, frozen=True, gc=False, tag="delete"):
    """Delete for good. A tombstone stays, so that the id never means something else."""


# --- turns ---------------------------------------------------------------------------------------


class Speaker(_Input, frozen=True, gc=False):
    """Who said it. A participant has its own name and no other; without one it is the id's."""

    kind: AuthorKind
    id: Id
    name: Label = ""


class PostMessage(_Command, frozen=True, gc=False, tag="post_message"):
    """Add one turn.

    `id` defaults to the id of its event; `role` to user for people, assistant for bots, system
    otherwise; the times to the time of the command.
    """

    author: Speaker
    text: Text
    id: Id | None = None
    role: Role | None = None
    reply_to: Id | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    interrupted: bool = False
    spoken_until: Count | None = None
    metrics: Object = EMPTY
    config_version: Count | None = None
    tool_calls: Annotated[tuple[ToolUse, ...], Meta(max_length=bounds.TOOL_CALLS)] = ()


class SaveTurn(_Command, frozen=True, gc=False, tag="save_turn"):
    """Add what a user said and what a bot answered, both or neither.

    Without `user_id` the user is the only person of the conversation, else "user"; without `bot_id`
    the bot is the default one, else the only one, else the author "assistant" of kind system.
    """

    user_message: Text
    assistant_message: Text
    user_id: Id | None = None
    bot_id: Id | None = None


class SavedMessage(_Input, frozen=True, gc=False):
    """A turn of a saved session; without an author it is the usual one's of its role."""

    text: Text
    role: Role = "user"
    author: Speaker | None = None
    id: Id | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None


class SaveSession(_Command, frozen=True, gc=False, tag="save_session"):
    """Add what a session said and the log lacks; see `sessions.py`."""

    id: Id
    messages: Annotated[tuple[SavedMessage, ...], Meta(max_length=bounds.SESSION_MESSAGES)] = ()
    participants: Annotated[tuple[NewParticipant, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    duration_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    seen_seq: Count = 0


# --- settings and members ------------------------------------------------------------------------


class PatchConfig(_Command, frozen=True, gc=False, tag="patch_config"):
    """Change the config by a JSON merge patch (RFC 7396): null puts a field back to its default."""

    patch: Annotated[Raw, holds(PatchOf(Config))]


class SetTeam(_Command, frozen=True, gc=False, tag="set_team"):
    """Name the team, or none."""

    team: TeamRef | None


class SetTools(_Command, frozen=True, gc=False, tag="set_tools"):
    """Replace the tools that bots may call."""

    tools: Annotated[tuple[Tool, ...], Meta(max_length=bounds.TOOLS)]


class AddParticipant(_Command, frozen=True, gc=False, tag="add_participant"):
    """Add a member. One that had left comes back under the same id."""

    participant: NewParticipant


class UpdateParticipant(_Command, frozen=True, gc=False, tag="update_participant"):
    """Change what is given of a member; null leaves it as it is."""

    id: Id
    name: Name | None = None
    role: Label | None = None
    priority: Priority | None = None
    mode: Mode | None = None
    user_id: Id | None = None
    tracks: Annotated[Raw, holds(dict[str, Any] | None)] = NULL


class RemoveParticipant(_Command, frozen=True, gc=False, tag="remove_participant"):
    """Remove a member; what it said stays."""

    id: Id


class SetParticipantState(_Command, frozen=True, gc=False, tag="set_participant_state"):
    """Say that a member is ready, busy, muted, disabled, unavailable, or has left."""

    durability: ClassVar[Durability] = Durability.BUFFERED

    id: Id
    state: ParticipantState


class ReportConfigVersion(_Command, frozen=True, gc=False, tag="report_config_version"):
    """Say which version of its config a running bot has applied."""

    bot: Id
    version: Count


class PassBaton(_Command, frozen=True, gc=False, tag="pass_baton"):
    """Hand the conversation to one bot; None: nobody holds the baton any more."""

    to: Id | None


# --- shared work ---------------------------------------------------------------------------------

_Assignments = Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)]
_Merges = Annotated[_Assignments, Meta(extra_json_schema=free_json.ITEMS_OF_OBJECTS)]


class Increment(_Input, frozen=True, gc=False):
    """A blackboard item's id and the number to add."""

    id: Id
    by: (
        Annotated[int, Meta(ge=-(2**53), le=2**53)]
        | Annotated[float, Meta(ge=-(2.0**53), le=2.0**53)]
    ) = 1


class EditBlackboard(_Command, frozen=True, gc=False, tag="blackboard"):
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


class SetSubtask(_Command, frozen=True, gc=False, tag="set_subtask"):
    """Create the subtask, or replace all of it but its time of creation."""

    id: Id
    description: Note
    status: SubtaskStatus = "todo"
    assignee: Id | None = None
    depends_on: Annotated[tuple[Id, ...], Meta(max_length=50)] = ()
    priority: SubtaskPriority = "medium"


class DeleteSubtask(_Command, frozen=True, gc=False, tag="delete_subtask"):
    """Delete a subtask that no other one depends on."""

    id: Id


class RequestToolCall(_Command, frozen=True, gc=False, tag="request_tool_call"):
    """A bot wants to call a tool; `scheduling` says whether a person has to approve it."""

    tool: Name
    caller: Id
    arguments: Object = EMPTY
    id: Id | None = None


class DecideToolCall(_Command, frozen=True, gc=False, tag="decide_tool_call"):
    """Approve or reject a waiting call; `time_out` is the decision of nobody in time."""

    id: Id
    decision: Literal["approve", "reject", "time_out"]
    reason: Note = ""


class FinishToolCall(_Command, frozen=True, gc=False, tag="finish_tool_call"):
    """Report how a call went."""

    id: Id
    outcome: Literal["executing", "succeeded", "failed", "cancelled"]
    result: Raw = NULL
    error: Note = ""
    cost: Count = 0


class CountUsage(_Command, frozen=True, gc=False, tag="count"):
    """Add to the statistics; for a bot's use also to its own.

    Calls that are asked for by `request_tool_call`, and their costs, are counted without it.
    """

    durability: ClassVar[Durability] = Durability.BUFFERED

    tool_calls: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    credits: Annotated[int, Meta(ge=0, le=10**12)] = 0
    bot: Id | None = None
    cycle_ended: bool = False


Command = (
    PostMessage
    | SaveTurn
    | SaveSession
    | CountUsage
    | SetParticipantState
    | Create
    | Branch
    | ChangeStatus
    | Delete
    | PatchConfig
    | SetTeam
    | SetTools
    | AddParticipant
    | UpdateParticipant
    | RemoveParticipant
    | ReportConfigVersion
    | PassBaton
    | EditBlackboard
    | SetSubtask
    | DeleteSubtask
    | RequestToolCall
    | DecideToolCall
    | FinishToolCall
)

BEGINNINGS = (Create, Branch)
"""The commands that begin a conversation; all others need one."""
