"""What may be asked of a conversation: a union tagged by `type`, with every bound in the types.

Each class says how its change is written: LOGGED is in the log before it is acknowledged, BUFFERED
is cheap and may wait up to 2 s in the owner's memory. What a command does to a state is in
`transitions.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Raw

from src.state.models import Durability
from src.swarm.shapes import bounds
from src.swarm.shapes.bounds import Count, Id, Label, Moment, Name, Note, Priority, Text
from src.swarm.shapes.config import Config, Parent
from src.swarm.shapes.free_json import EMPTY, NULL, Object, PatchOf, holds
from src.swarm.shapes.inputs import Asking, Input
from src.swarm.shapes.models import (
    AuthorKind,
    ConversationState,
    Mode,
    ParticipantKind,
    ParticipantState,
    Role,
    TeamRef,
    Tool,
    ToolUse,
)
from src.swarm.shapes.sessions import SessionSummary
from src.swarm.shapes.work import (
    Assignment,
    DecideToolCall,
    DeleteSubtask,
    EditBlackboard,
    FinishToolCall,
    RequestToolCall,
    SetSubtask,
)

# --- life of the conversation --------------------------------------------------------------------


class NewParticipant(Input, frozen=True, gc=False):
    """A member to be; `joined_at` becomes the time of the command."""

    id: Id
    kind: ParticipantKind
    name: Name
    role: Label = ""
    priority: Priority = 0
    mode: Mode = "proactive"
    user_id: Id | None = None
    tracks: Object = EMPTY


class Create(Asking, frozen=True, gc=False, tag="create"):
    """Begin the conversation `id`; it is ready at once."""

    id: Id
    config: Config = Config()
    participants: Annotated[tuple[NewParticipant, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    team: TeamRef | None = None
    available_tools: Annotated[tuple[Tool, ...], Meta(max_length=bounds.TOOLS)] = ()
    blackboard: Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()


class Branch(Asking, frozen=True, gc=False, tag="branch"):
    """Begin the conversation `id` with the state of another one; see `branching.py`."""

    id: Id
    parent: Parent
    state: ConversationState


class ChangeStatus(Asking, frozen=True, gc=False, tag="lifecycle"):
    """Start, stop, pause, suspend, resume, or end the conversation; see `lifecycle.py`."""

    action: Literal["start", "stop", "pause", "suspend", "resume", "complete", "fail", "cancel"]
    reason: Note = ""


class Delete(Asking, frozen=True, gc=False, tag="delete"):
    """Delete for good. A tombstone stays, so that the id never means something else."""


# --- turns ---------------------------------------------------------------------------------------


class Speaker(Input, frozen=True, gc=False):
    """Who said it. A participant has its own name and no other; without one it is the id's."""

    kind: AuthorKind
    id: Id
    name: Label = ""


class PostMessage(Asking, frozen=True, gc=False, tag="post_message"):
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


class NoteSpeech(Asking, frozen=True, gc=False, tag="note_speech"):
    """Say how far a bot was heard that is speaking; a host's own, see `speeches.py`."""

    id: Id
    bot: Id
    text: Text
    """All that it was given to say so far."""
    heard: Count
    started_at: Moment
    reply_to: Id | None = None
    config_version: Count | None = None


class CutSpeech(Asking, frozen=True, gc=False, tag="cut_speech"):
    """Make a turn of a speech that nobody ends any more; a host's own, under the turn's own key."""

    id: Id


class SaveTurn(Asking, frozen=True, gc=False, tag="save_turn"):
    """Add what a user said and what a bot answered, both or neither.

    Without `user_id` the user is the only person of the conversation, else "user"; without `bot_id`
    the bot is the default one, else the only one, else the author "assistant" of kind system.
    """

    user_message: Text
    assistant_message: Text
    user_id: Id | None = None
    bot_id: Id | None = None


class SavedMessage(Input, frozen=True, gc=False):
    """A turn of a saved session; without an author it is the usual one's of its role."""

    text: Text
    role: Role = "user"
    author: Speaker | None = None
    id: Id | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None


class SaveSession(Asking, frozen=True, gc=False, tag="save_session"):
    """Add what a session said and the log lacks; see `sessions.py`."""

    id: Id
    messages: Annotated[tuple[SavedMessage, ...], Meta(max_length=bounds.SESSION_MESSAGES)] = ()
    participants: Annotated[tuple[NewParticipant, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    duration_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    seen_seq: Count = 0


# --- settings and members ------------------------------------------------------------------------


class PatchConfig(Asking, frozen=True, gc=False, tag="patch_config"):
    """Change the config by a JSON merge patch (RFC 7396): null puts a field back to its default."""

    patch: Annotated[Raw, holds(PatchOf(Config))]


class SetTeam(Asking, frozen=True, gc=False, tag="set_team"):
    """Name the team, or none."""

    team: TeamRef | None


class SetTools(Asking, frozen=True, gc=False, tag="set_tools"):
    """Replace the tools that bots may call."""

    tools: Annotated[tuple[Tool, ...], Meta(max_length=bounds.TOOLS)]


class AddParticipant(Asking, frozen=True, gc=False, tag="add_participant"):
    """Add a member. One that had left comes back under the same id."""

    participant: NewParticipant


class UpdateParticipant(Asking, frozen=True, gc=False, tag="update_participant"):
    """Change what is given of a member; null leaves it as it is."""

    id: Id
    name: Name | None = None
    role: Label | None = None
    priority: Priority | None = None
    mode: Mode | None = None
    user_id: Id | None = None
    tracks: Annotated[Raw, holds(dict[str, Any] | None)] = NULL


class RemoveParticipant(Asking, frozen=True, gc=False, tag="remove_participant"):
    """Remove a member; what it said stays."""

    id: Id


class SetParticipantState(Asking, frozen=True, gc=False, tag="set_participant_state"):
    """Say that a member is ready, busy, muted, disabled, unavailable, or has left."""

    durability: ClassVar[Durability] = Durability.BUFFERED

    id: Id
    state: ParticipantState


class ReportConfigVersion(Asking, frozen=True, gc=False, tag="report_config_version"):
    """Say which version of its config a running bot has applied."""

    bot: Id
    version: Count


class PassBaton(Asking, frozen=True, gc=False, tag="pass_baton"):
    """Hand the conversation to one bot; None: nobody holds the baton any more."""

    to: Id | None


class SummariseSession(Asking, frozen=True, gc=False, tag="summarise_session"):
    """Keep what a session was; a server's own, when a room is over."""

    session: SessionSummary


class CountUsage(Asking, frozen=True, gc=False, tag="count"):
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
    | NoteSpeech
    | CutSpeech
    | SaveTurn
    | SaveSession
    | SummariseSession
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
OF_HOSTS = (NoteSpeech, CutSpeech, SummariseSession)
"""The commands that only a server gives, of what it hosts or goes on with."""
