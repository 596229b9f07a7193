"""What has happened to a conversation: the facts that the log keeps for ever.

An event holds results and not requests, so that folding it needs no rule that could change later:
the blackboard event has the new values, not "append". `SCHEMA` of a class goes up when an older
release could not fold it; a new optional field with a neutral default needs no new number.

Schema 2 of `created` and `config_changed`: a field that is left out of a config is inherited. In
schema 1 each was written out, so what such a conversation does is what it always did.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec
from msgspec import Raw

from src.swarm.shapes.config import Config
from src.swarm.shapes.free_json import NULL
from src.swarm.shapes.models import (
    Baton,
    BlackboardItem,
    Message,
    Participant,
    ParticipantState,
    PendingToolCall,
    Status,
    Subtask,
    TeamRef,
    Tool,
    ToolCallStatus,
)
from src.swarm.shapes.sessions import SessionSummary


class _Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    """A fact. When and by whom is in the log's own columns (`Meta`)."""

    SCHEMA: ClassVar[int] = 1


class Value(msgspec.Struct, frozen=True, gc=False):
    """A blackboard item's new value."""

    id: str
    value: Raw


class Created(_Event, frozen=True, gc=False, tag="created"):
    SCHEMA: ClassVar[int] = 2

    id: str
    config: Config
    participants: tuple[Participant, ...] = ()
    team: TeamRef | None = None
    available_tools: tuple[Tool, ...] = ()
    blackboard: tuple[Value, ...] = ()


class Branched(_Event, frozen=True, gc=False, tag="branched"):
    """The beginning of a conversation that is a branch of another, which `config.parent` names."""

    id: str
    config: Config
    participants: tuple[Participant, ...] = ()
    team: TeamRef | None = None
    available_tools: tuple[Tool, ...] = ()
    blackboard: tuple[BlackboardItem, ...] = ()
    subtasks: tuple[Subtask, ...] = ()
    pending_tool_calls: tuple[PendingToolCall, ...] = ()
    baton: Baton | None = None


class StatusChanged(_Event, frozen=True, gc=False, tag="status_changed"):
    status: Status
    reason: str = ""


class Deleted(_Event, frozen=True, gc=False, tag="deleted"):
    """The end, and all that is left when the events before it are erased.

    The fields say again what must not be forgotten with them; events of older releases have none.
    """

    id: str = ""
    created_by: str = ""
    created_at: datetime | None = None


class MessageAdded(_Event, frozen=True, gc=False, tag="message_added"):
    message: Message


class SpeechHeard(_Event, frozen=True, gc=False, tag="speech_heard"):
    """A bot is heard: the beginning of a turn to be, or more of it. `message_added` is its end."""

    id: str
    """The id that its turn will have."""
    bot: str
    text: str
    """What it was given to say since the last such event."""
    heard: int
    """How many characters of all that it was given were heard."""
    started_at: datetime
    reply_to: str | None = None
    config_version: int | None = None


class SessionSaved(_Event, frozen=True, gc=False, tag="session_saved"):
    """A session is over and all of its turns are logged: none of them is anybody's to answer."""

    id: str
    duration_s: float
    added: int
    """How many of its turns had not been logged before."""


class SessionSummarised(_Event, frozen=True, gc=False, tag="session_summarised"):
    """A room is over. It changes nothing of the state."""

    session: SessionSummary


class ConfigChanged(_Event, frozen=True, gc=False, tag="config_changed"):
    """The whole config after the change, and the names of the fields that differ."""

    SCHEMA: ClassVar[int] = 2

    config: Config
    changed: tuple[str, ...]


class TeamChanged(_Event, frozen=True, gc=False, tag="team_changed"):
    team: TeamRef | None


class ToolsChanged(_Event, frozen=True, gc=False, tag="tools_changed"):
    tools: tuple[Tool, ...]


class ParticipantAdded(_Event, frozen=True, gc=False, tag="participant_added"):
    participant: Participant


class ParticipantUpdated(_Event, frozen=True, gc=False, tag="participant_updated"):
    participant: Participant


class ParticipantRemoved(_Event, frozen=True, gc=False, tag="participant_removed"):
    id: str


class ParticipantStateChanged(_Event, frozen=True, gc=False, tag="participant_state_changed"):
    id: str
    state: ParticipantState


class ConfigVersionReported(_Event, frozen=True, gc=False, tag="config_version_reported"):
    bot: str
    version: int


class BatonPassed(_Event, frozen=True, gc=False, tag="baton_passed"):
    to: str | None


class BlackboardChanged(_Event, frozen=True, gc=False, tag="blackboard_changed"):
    values: tuple[Value, ...] = ()
    deleted: tuple[str, ...] = ()


class SubtaskSet(_Event, frozen=True, gc=False, tag="subtask_set"):
    subtask: Subtask


class SubtaskDeleted(_Event, frozen=True, gc=False, tag="subtask_deleted"):
    id: str


class ToolCallRequested(_Event, frozen=True, gc=False, tag="tool_call_requested"):
    call: PendingToolCall


class ToolCallDecided(_Event, frozen=True, gc=False, tag="tool_call_decided"):
    id: str
    status: ToolCallStatus
    reason: str = ""
    due_at: datetime | None = None
    """Approved: from when on it may run."""


class ToolCallProgressed(_Event, frozen=True, gc=False, tag="tool_call_progressed"):
    id: str
    status: ToolCallStatus
    result: Raw = NULL
    error: str = ""
    cost: int = 0


class UsageCounted(_Event, frozen=True, gc=False, tag="usage_counted"):
    tool_calls: int = 0
    credits: int = 0
    bot: str | None = None
    cycle_ended: bool = False


ConversationEvent = (
    MessageAdded
    | SpeechHeard
    | UsageCounted
    | ParticipantStateChanged
    | Created
    | Branched
    | StatusChanged
    | Deleted
    | SessionSaved
    | SessionSummarised
    | ConfigChanged
    | TeamChanged
    | ToolsChanged
    | ParticipantAdded
    | ParticipantUpdated
    | ParticipantRemoved
    | ConfigVersionReported
    | BatonPassed
    | BlackboardChanged
    | SubtaskSet
    | SubtaskDeleted
    | ToolCallRequested
    | ToolCallDecided
    | ToolCallProgressed
)
