"""An event as others are told of it: over HTTP, in live sessions, and in rooms."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw

from src.state.models import Event


class EventItem(msgspec.Struct, frozen=True, gc=False):
    """One event of a conversation's log; `data` is the fact itself."""

    conversation_id: str
    seq: int
    version: str
    id: str
    type: str
    schema: int
    actor: str
    at: datetime
    data: Raw


class PendingItem(msgspec.Struct, frozen=True, gc=False):
    """An event that the log does not have yet; logged, it comes again with the same `id`."""

    conversation_id: str
    id: str
    type: str
    schema: int
    actor: str
    at: datetime
    data: Raw


def event(one: Event) -> EventItem:
    """Return the answer for one row of the log."""
    return EventItem(
        one.aggregate_id,
        one.version.seq,
        one.version.token,
        one.event_id,
        one.type,
        one.schema,
        one.actor,
        one.at,
        Raw(one.body),
    )


def pending(one: Event) -> PendingItem:
    """Return the answer for an event that is only pending."""
    return PendingItem(
        one.aggregate_id, one.event_id, one.type, one.schema, one.actor, one.at, Raw(one.body)
    )
