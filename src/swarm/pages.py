"""Pages of lists: of messages from the log, of conversations from their read model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Version
from src.swarm.rules.conversations import MESSAGE_ADDED
from src.swarm.shapes.codec import decode_event
from src.swarm.shapes.events import MessageAdded, SessionSummarised
from src.swarm.shapes.models import Message
from src.swarm.shapes.sessions import SessionSummary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MessagePage(msgspec.Struct, frozen=True, gc=False):
    """Messages newest first; `next_cursor` is the seq to go on below, None at the beginning."""

    messages: tuple[Message, ...]
    next_cursor: str | None
    as_of: Version


class SessionPage(msgspec.Struct, frozen=True, gc=False):
    """Sessions newest first; `next_cursor` is the seq to go on below, None at the beginning."""

    sessions: tuple[SessionSummary, ...]
    next_cursor: str | None


class Summary(msgspec.Struct, frozen=True, gc=False):
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


class SummaryPage(msgspec.Struct, frozen=True, gc=False):
    """Conversations, newest first, as the database had them at `as_of`."""

    conversations: tuple[Summary, ...]
    next_cursor: str | None
    as_of: datetime


def summaries(as_of: datetime, rows: Sequence[Any], limit: int) -> SummaryPage:
    """Return the page that rows of the read model make."""
    page = tuple(
        Summary(
            row["conversation_id"],
            row["seq"],
            row["status"],
            row["goal"],
            row["created_by"],
            tuple(row["members"]),
            row["turns"],
            row["last_text"],
            row["created_at"],
            row["updated_at"],
        )
        for row in rows
    )
    last = page[-1] if len(page) == limit else None
    following = cursor(last.created_at, last.id) if last else None
    return SummaryPage(page, following, as_of)


def session(body: bytes) -> SessionSummary:
    """Return the session in the body of its event."""
    fact = decode_event("session_summarised", 1, body)
    assert isinstance(fact, SessionSummarised)
    return fact.session


def message(seq: int, body: bytes) -> Message:
    """Return the message in the body of its event."""
    fact = decode_event(MESSAGE_ADDED, 1, body)
    assert isinstance(fact, MessageAdded)
    return replace(fact.message, seq=seq)


def cursor(created_at: datetime, conversation_id: str) -> str:
    """Return the place of a conversation in the list, of characters that a URL need not quote."""
    return f"{(created_at - _EPOCH) // timedelta(microseconds=1)}~{conversation_id}"


def place(cursor: str | None) -> tuple[datetime, str] | None:
    """Return where a list goes on; None, the top, for none.

    Raises:
        Refused: a cursor that no list gave out.
    """
    if cursor is None:
        return None
    moment, mark, conversation_id = cursor.partition("~")
    try:
        at = _EPOCH + timedelta(microseconds=int(moment))
    except (ValueError, OverflowError):
        at = None
    if not mark or at is None:
        detail = "cursor was not given out by this list; start without one"
        raise Refused("invalid", detail, field="cursor")
    return at, conversation_id
