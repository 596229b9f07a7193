"""The state of a conversation, as every server, tier and client sees it.

A conversation is a swarm: one id for the chat, its bots and its state. All values are frozen and
hold only frozen things; JSON of any shape is kept as bytes (`free_json.py`). Parts that repeat
leave a field at its default out of the JSON; the state itself always shows all of its fields.

`SCHEMA` goes up when an older release could no longer write the state back without loss.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from src.state.models import Version
from src.swarm.shapes.bounds import Count, Id, Label, Name, Note
from src.swarm.shapes.config import Config
from src.swarm.shapes.free_json import EMPTY, NULL, Object

SCHEMA = 3

Status = Literal[
    "uninitialized",
    "loading",
    "ready",
    "running",
    "paused",
    "suspended",
    "completed",
    "failed",
    "cancelled",
    "deleted",
]
AuthorKind = Literal["person", "bot", "system"]
ParticipantKind = Literal["person", "bot"]
ParticipantState = Literal["ready", "busy", "muted", "disabled", "unavailable", "left"]
Mode = Literal["proactive", "addressed_only", "muted"]
Role = Literal["user", "assistant", "system", "tool"]
SubtaskStatus = Literal["todo", "in_progress", "done", "blocked", "failed", "canceled"]
SubtaskPriority = Literal["low", "medium", "high"]
ToolCallStatus = Literal[
    "pending_approval",
    "scheduled",
    "approved",
    "rejected_by_user",
    "rejected_by_timeout",
    "executing",
    "succeeded",
    "failed",
    "cancelled",
]


class TeamRef(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Which team, at which version of its config; the config itself is looked up when needed."""

    id: Id
    name: Label = ""
    version: Count = 0


class Tool(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A tool that bots of this conversation may call."""

    name: Name
    description: Note = ""
    input_schema: Object = EMPTY
    output_schema: Object = EMPTY
    category: Label = ""
    permissions: Annotated[tuple[Name, ...], Meta(max_length=50)] = ()


class Participant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A person or a bot of the conversation."""

    id: str
    kind: ParticipantKind
    name: str
    joined_at: datetime
    role: str = ""
    priority: int = 0
    state: ParticipantState = "ready"
    mode: Mode = "proactive"
    config_version: int | None = None
    """Bots: the version of their config that the running voice has applied."""
    user_id: str | None = None
    tracks: Object = EMPTY


class Author(msgspec.Struct, frozen=True, gc=False):
    """Who said it, with the name as it was then."""

    kind: AuthorKind
    id: str
    name: str


class ToolUse(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True
):
    """A tool call made within a turn, and its result where there is one."""

    id: Id
    name: Name
    arguments: Object = EMPTY
    result: Raw = NULL


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One turn."""

    id: str
    author: Author
    role: Role
    text: str
    started_at: datetime
    ended_at: datetime
    seq: int = 0
    """Its event's number in the log; 0 in the event itself, which can't know it yet."""
    tool_calls: tuple[ToolUse, ...] = ()
    reply_to: str | None = None
    interrupted: bool = False
    spoken_until: int | None = None
    """Interrupted turns: how many characters of the text were spoken."""
    cut_off: bool = False
    """Interrupted turns: nobody ended it, since its host died, or its voice failed. More may have
    been spoken than `spoken_until`, and meant than `text`: both are what the log was told last."""
    metrics: Object = EMPTY
    config_version: int | None = None


class Speech(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a bot is saying aloud: a turn to be. Of what is only written there is none."""

    id: str
    """The id that its turn will have."""
    bot: str
    text: str
    """What it was given to say, as far as the log was told ..."""
    heard: int
    """... and how many characters of it were heard at the least."""
    started_at: datetime
    heard_at: datetime
    """When the log was told last."""
    reply_to: str | None = None
    config_version: int | None = None


class BlackboardItem(msgspec.Struct, frozen=True, gc=False):
    """A value that all bots share."""

    id: str
    value: Raw
    updated_at: datetime
    by: str


class Subtask(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A piece of the goal."""

    id: str
    description: str
    created_at: datetime
    status: SubtaskStatus = "todo"
    assignee: str | None = None
    depends_on: tuple[str, ...] = ()
    priority: SubtaskPriority = "medium"


class PendingToolCall(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A tool call on its way from request to result."""

    id: str
    tool: str
    caller: str
    requested_at: datetime
    arguments: Raw = EMPTY
    status: ToolCallStatus = "pending_approval"
    reason: str = ""
    due_at: datetime | None = None
    """Waiting for approval: when that time ends, if ever. Else from when on it may run."""
    decided_by: str | None = None
    attempts: int = 0
    result: Raw = NULL
    error: str = ""
    cost: int = 0
    delay_ms: int = 0


class BotStats(msgspec.Struct, frozen=True, gc=False):
    """What one bot has done and used."""

    bot: str
    tool_calls: int = 0
    credits: int = 0
    turns: int = 0
    words: int = 0
    response_tool_calls: int = 0
    """Within its response under way: see `turns.responded`."""
    response_credits: int = 0


class Stats(msgspec.Struct, frozen=True, gc=False):
    """Totals of the conversation; credits as in `limits.py`."""

    tool_calls: int = 0
    credits: int = 0
    turns: int = 0
    words: int = 0
    started_at: datetime | None = None
    last_cycle_ended_at: datetime | None = None
    responding_s: float = 0.0
    """How long bots took for their turns, from start to end, all together."""
    bots: tuple[BotStats, ...] = ()


class Baton(msgspec.Struct, frozen=True, gc=False):
    """Whose turn it is by agreement: unaddressed turns are the holder's to answer."""

    holder: str
    passed_by: str
    passed_at: datetime
    taken: bool = False
    """False until the holder has spoken: so long the floor is reserved for it."""


class Ephemeral(msgspec.Struct, frozen=True, gc=False):
    """Presence, speaking, typing: always empty here, since signals are not in the log."""


class ConversationState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """All that the members of a conversation share."""

    id: str
    version: Version
    schema: int = SCHEMA
    status: Status = "ready"
    started_seq: int = 0
    """Where in the log it was started or saved last: turns before are nobody's to answer."""
    config: Config = Config()
    participants: tuple[Participant, ...] = ()
    available_tools: tuple[Tool, ...] = ()
    team: TeamRef | None = None
    messages: tuple[Message, ...] = ()
    """The newest turns, oldest first: at most 50, and at most 128 KiB of JSON (but always one)."""
    speech: Speech | None = None
    """What is being said aloud: no turn yet, and none of `messages`."""
    blackboard: tuple[BlackboardItem, ...] = ()
    subtasks: tuple[Subtask, ...] = ()
    pending_tool_calls: tuple[PendingToolCall, ...] = ()
    stats: Stats = Stats()
    baton: Baton | None = None
    ephemeral: Ephemeral = Ephemeral()
    window_bytes: int = 0
    """How much JSON `messages` is."""
    created_at: datetime
    updated_at: datetime
    created_by: str

    def participant(self, participant_id: str) -> Participant | None:
        """Return the member with this id; None if there is none."""
        for member in self.participants:
            if member.id == participant_id:
                return member
        return None

    @property
    def bots(self) -> tuple[Participant, ...]:
        """The members that are bots, in order of joining."""
        return tuple(member for member in self.participants if member.kind == "bot")
