"""A conversation as JSON Lines: its state, then every event up to that state, then the end.

The log is read page by page and sent as fast as the client takes it, with the bounds of a download.
Without the last line it was cut (a server that goes away, a store that does not answer, a client
that takes nothing, an access that ended): ask again after the last event seen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

import msgspec
import structlog
from msgspec import Raw

from src.api.auth.door import Door
from src.api.auth.principals import Principal
from src.api.auth.rules import may_read
from src.api.lifespan import Drain
from src.api.schemas.answers import encode
from src.state.errors import StateError
from src.state.models import Entry
from src.swarm.service import SwarmService
from src.swarm.shapes.models import ConversationState
from src.swarm.told import EventItem, event
from src.swarm.transfers import Transfers

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/x-ndjson"
_PAGE = 200
"""Events in memory at a time; a page of them ends early at 1 MiB."""
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
    service: SwarmService,
    drain: Drain,
    door: Door,
    caller: Principal,
    downloads: Transfers,
    entry: Entry[ConversationState],
    *,
    after: int,
) -> AsyncGenerator[bytes, None]:
    """Give the lines in chunks: the state and all events, or only the events with seq > `after`.

    Before each chunk it is asked anew whether the caller may read this: what is deleted, and who
    is logged out or no member any more, ends it.

    Raises:
        Overloaded: as many downloads as this server serves are under way.
    """
    lines = _lines(service, entry, after)
    with downloads.turn():
        async with aclosing(lines):
            try:
                async for chunk in _chunks(lines):
                    if drain.begun or not door.admits(caller):
                        return
                    if not may_read(caller, (await service.read(entry.id)).entry.state):
                        return
                    yield chunk
            except StateError as error:
                log.warning("export.cut", conversation_id=entry.id, error=str(error))


async def _chunks(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    async for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


async def _lines(
    service: SwarmService, entry: Entry[ConversationState], after: int
) -> AsyncGenerator[bytes, None]:
    until = entry.version.seq
    if after == 0:
        yield _line(StateLine(entry.id, entry.version.token, Raw(service.body(entry))))
    while after < until:
        page = await service.events(entry.id, after=after, limit=min(_PAGE, until - after))
        if not page:
            # PostgreSQL is on a branch of its history that does not reach so far.
            return
        for one in page:
            yield _line(EventLine(*msgspec.structs.astuple(event(one))))
        after = page[-1].version.seq
    yield _line(EndLine(until))


def _line(value: object) -> bytes:
    return encode(value) + b"\n"
