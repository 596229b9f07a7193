"""A conversation as JSON Lines: its state, then every event up to that state, then the end.

The log is read page by page and sent as fast as the client takes it. Without the last line it was
cut (a server that goes away, a store that does not answer): ask again after the last event seen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

import msgspec
import structlog
from msgspec import Raw

from src.api.lifespan import Drain
from src.api.schemas.answers import EventItem, encode, event
from src.state.errors import StateError
from src.state.models import Entry
from src.swarm.service import SwarmService
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/x-ndjson"
_PAGE = 200
"""Events in memory at a time, of 64 KiB each at the most."""
_CHUNK_BYTES = 64 << 10


class StateLine(msgspec.Struct, frozen=True, gc=False):
    """The first line of an export that begins at the beginning."""

    id: str
    version: str
    state: Raw
    line: Literal["state"] = "state"
    format: Literal[1] = 1


class EventLine(EventItem, frozen=True, gc=False, kw_only=True):
    """One event; those of the type `message_added` hold the messages."""

    line: Literal["event"] = "event"


class EndLine(msgspec.Struct, frozen=True, gc=False):
    """The last line: nothing is missing up to event `seq`."""

    seq: int
    line: Literal["end"] = "end"


async def export(
    service: SwarmService, drain: Drain, entry: Entry[ConversationState], *, after: int
) -> AsyncGenerator[bytes, None]:
    """Give the lines in chunks: the state and all events, or only the events with seq > `after`."""
    until = entry.version.seq
    waiting: list[bytes] = []
    size = 0
    if after == 0:
        yield _line(StateLine(entry.id, entry.version.token, Raw(service.body(entry))))
    while after < until:
        if drain.begun:
            return
        try:
            page = await service.events(entry.id, after=after, limit=min(_PAGE, until - after))
        except StateError as error:
            log.warning("export.cut", conversation_id=entry.id, after=after, error=str(error))
            return
        if not page:
            # PostgreSQL is on a branch of its history that does not reach so far.
            return
        for one in page:
            waiting.append(_line(EventLine(*msgspec.structs.astuple(event(one)))))
            size += len(waiting[-1])
            if size >= _CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
        after = page[-1].version.seq
    waiting.append(_line(EndLine(until)))
    yield b"".join(waiting)


def _line(value: object) -> bytes:
    return encode(value) + b"\n"
