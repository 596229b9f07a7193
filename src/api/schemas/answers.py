"""The bodies of answers. What a route returns is one of these, encoded; OpenAPI is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from starlette.responses import Response

from src.state.models import Durability, Event
from src.state.records.files import File
from src.swarm.pages import Summary
from src.swarm.shapes.config import Parent
from src.swarm.shapes.models import Message
from src.swarm.shapes.sessions import SessionSummary
from src.swarm.told import EventItem, event

_encode = msgspec.json.Encoder().encode


class Written(msgspec.Struct, frozen=True, gc=False):
    """A write that was taken: what it made or changed, the version, how safe it is."""

    id: str
    version: str
    """`<epoch>.<seq>`; send it as X-Swarm-Version to read your own write on any server."""
    durability: Durability
    repeated: bool = False
    """The Idempotency-Key was seen before: the first answer again, nothing was added."""


class Posted(msgspec.Struct, frozen=True, gc=False):
    """A message that was taken; `id` is the message's."""

    id: str
    conversation_id: str
    version: str
    durability: Durability
    repeated: bool = False


class BranchBegun(msgspec.Struct, frozen=True, gc=False):
    """A branch that was begun; `parent` says of what, and after which event."""

    id: str
    parent: Parent
    version: str
    durability: Durability
    repeated: bool = False


class Saved(msgspec.Struct, frozen=True, gc=False):
    """A turn that was saved."""

    status: Literal["saved"]
    version: str
    durability: Durability
    repeated: bool = False


class SessionKept(msgspec.Struct, frozen=True, gc=False):
    """A session that was saved; `summary_id` names it in the log (`session_saved`)."""

    status: Literal["saved"]
    summary_id: str
    version: str
    durability: Durability
    repeated: bool = False


class SessionList(msgspec.Struct, frozen=True, gc=False):
    """What sessions in the conversation's rooms were, newest first.

    Go on with `next_cursor` until it is None.
    """

    conversation_id: str
    sessions: tuple[SessionSummary, ...]
    next_cursor: str | None


class MessageList(msgspec.Struct, frozen=True, gc=False):
    """Messages, newest first."""

    conversation_id: str
    messages: tuple[Message, ...]
    next_cursor: str | None
    as_of: str


class EventList(msgspec.Struct, frozen=True, gc=False):
    """Events in order; `next_after` is None at the end of what is logged now."""

    conversation_id: str
    events: tuple[EventItem, ...]
    next_after: int | None


class FileInfo(File, frozen=True, gc=False, kw_only=True):
    """A file of a conversation; its bytes have this SHA-256 (hex)."""

    repeated: bool = False
    """The Idempotency-Key was seen before: the first answer again, nothing was stored."""


class FileList(msgspec.Struct, frozen=True, gc=False):
    """Files of a conversation, newest first."""

    conversation_id: str
    files: tuple[FileInfo, ...]
    next_cursor: str | None


class ConversationList(msgspec.Struct, frozen=True, gc=False):
    """Conversations, newest first; each as of its `seq`, up to 5 s behind its log.

    `as_of`: when PostgreSQL answered, or for a replica up to when it has followed.
    """

    conversations: tuple[Summary, ...]
    next_cursor: str | None
    as_of: datetime


class Alive(msgspec.Struct, frozen=True, gc=False):
    """This process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True, gc=False):
    """Whether this server takes requests, and which of its stores answer."""

    status: Literal["ready", "degraded", "unready", "draining"]
    tiers: dict[str, bool]


def file(one: File, *, repeated: bool = False) -> FileInfo:
    """Return the answer for a file."""
    return FileInfo(**msgspec.structs.asdict(one), repeated=repeated)


def events(rows: Sequence[Event]) -> tuple[EventItem, ...]:
    """Return the answers for rows of the log."""
    return tuple(event(row) for row in rows)


def encode(answer: object) -> bytes:
    """Return the JSON of an answer."""
    return _encode(answer)


def json_response(
    answer: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the answer as an HTTP response."""
    return Response(_encode(answer), status, headers, "application/json")
