"""What servers answer, as frozen values: the fields of docs/api.md, by the same names.

Fields of newer servers are ignored. What is JSON of any shape (configs, metrics, values on the
blackboard) stays the JSON that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


# --- writes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write that was taken: what it made or changed, the version, how safe it is."""

    id: str
    version: str
    durability: str
    """`buffered`, `logged`, or `pending` while PostgreSQL is away."""
    repeated: bool = False
    """The key was seen before: this is the first answer again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A message that was taken; `id` is the message's."""

    id: str
    conversation_id: str
    version: str
    durability: str
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A turn that was saved."""

    version: str
    durability: str
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKept:
    """A session that was saved; `summary_id` names it in the log."""

    summary_id: str
    version: str
    durability: str
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What a conversation was branched from, and the last event they share."""

    id: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchBegun:
    """A branch that was begun."""

    id: str
    parent: Parent
    version: str
    durability: str
    repeated: bool = False


# --- a conversation ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The epoch of the owner that wrote it, and the sequence number of the last event."""

    epoch: int
    seq: int

    @property
    def token(self) -> str:
        """`<epoch>.<seq>`, as in headers and in answers to writes."""
        return f"{self.epoch}.{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A person or a bot of the conversation."""

    id: str
    kind: str
    name: str
    joined_at: datetime
    role: str = ""
    priority: int = 0
    state: str = "ready"
    mode: str = "proactive"
    config_version: int | None = None
    user_id: str | None = None
    tracks: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who said it: `person`, `bot` or `system`, with the name as it was then."""

    kind: str
    id: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool call made within a turn; `result` is None where there is none."""

    id: str
    name: str
    arguments: Json = field(default_factory=dict)
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn."""

    id: str
    author: Author
    role: str
    text: str
    started_at: datetime
    ended_at: datetime
    seq: int = 0
    tool_calls: tuple[ToolUse, ...] = ()
    reply_to: str | None = None
    interrupted: bool = False
    spoken_until: int | None = None
    """Interrupted turns: how many characters of the text were spoken."""
    cut_off: bool = False
    """Interrupted turns: nobody ended it; more may have been spoken."""
    metrics: Json = field(default_factory=dict)
    config_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What a bot is saying aloud: a turn to be."""

    id: str
    """The id that its turn will have."""
    bot: str
    text: str
    """What it was given to say, as far as was noted ..."""
    heard: int
    """... and how many characters of it were heard at the least."""
    started_at: datetime
    heard_at: datetime
    reply_to: str | None = None
    config_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackboardItem:
    """A value that all members share."""

    id: str
    value: Any
    updated_at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """A piece of the goal."""

    id: str
    description: str
    created_at: datetime
    status: str = "todo"
    assignee: str | None = None
    depends_on: tuple[str, ...] = ()
    priority: str = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingToolCall:
    """A tool call on its way from request to result."""

    id: str
    tool: str
    caller: str
    requested_at: datetime
    arguments: Json = field(default_factory=dict)
    status: str = "pending_approval"
    reason: str = ""
    due_at: datetime | None = None
    decided_by: str | None = None
    attempts: int = 0
    result: Any = None
    error: str = ""
    cost: int = 0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BotStats:
    """What one bot has done and used."""

    bot: str
    tool_calls: int = 0
    credits: int = 0
    turns: int = 0
    words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Totals of the conversation; a million credits are one US dollar."""

    tool_calls: int = 0
    credits: int = 0
    turns: int = 0
    words: int = 0
    started_at: datetime | None = None
    responding_s: float = 0.0
    bots: tuple[BotStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Baton:
    """Whose turn it is by agreement."""

    holder: str
    passed_by: str
    passed_at: datetime
    taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Which team, at which version of its config."""

    id: str
    name: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """All that the members of a conversation share, and how fresh this answer is."""

    id: str
    version: Version
    created_at: datetime
    updated_at: datetime
    created_by: str
    status: str = "ready"
    config: Json = field(default_factory=dict)
    participants: tuple[Participant, ...] = ()
    available_tools: tuple[Json, ...] = ()
    team: Team | None = None
    messages: tuple[Message, ...] = ()
    """The newest turns, oldest first; `Conversations.messages` gives all."""
    speech: Speech | None = None
    """What is being said aloud in its room: no turn yet."""
    blackboard: tuple[BlackboardItem, ...] = ()
    subtasks: tuple[Subtask, ...] = ()
    pending_tool_calls: tuple[PendingToolCall, ...] = ()
    stats: Stats = Stats()
    baton: Baton | None = None
    tier: str = ""
    """Who answered: `owner`, `l1`, `l2` or `l3`."""
    freshness: str = ""
    """`fresh`, or `stale; age=<s>` while no tier can vouch for more; `inf`: of any age."""
    pending: int = 0
    """Turns that wait for PostgreSQL and are not in here yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A conversation in a list, as of `seq`."""

    id: str
    seq: int
    status: str
    goal: str
    created_by: str
    members: tuple[str, ...]
    turns: int
    last_text: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveValue:
    """One value that holds, where it comes from, and what was set beyond its hard cap."""

    field: str
    value: Any
    origin: Json
    clamped_from: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveConfig:
    """What holds in a conversation; `values` has the same place by place."""

    conversation_id: str
    version: str
    limits: Json
    scheduling: Json
    policy: Json
    responder: Json
    providers: Json
    values: tuple[EffectiveValue, ...]


# --- the log -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a conversation's log; `data` is the fact itself."""

    conversation_id: str
    seq: int
    version: str
    id: str
    type: str
    schema: int
    actor: str
    at: datetime
    data: Any
