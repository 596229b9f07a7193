"""The news of a conversation, told to everybody in its room as data messages.

Everybody in a room is told the same, strangers in an open one too: so what happened is told whole
where it is heard or seen in the room anyway, and else only that it happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import structlog
from livekit import rtc
from msgspec import Raw
from msgspec.structs import replace

from src.agents.port import Conversation
from src.state.background import background
from src.state.errors import Undecodable
from src.state.models import Event
from src.swarm.pending import PendingEvent
from src.swarm.shapes.codec import decode_event, encode_event
from src.swarm.shapes.events import MessageAdded
from src.swarm.shapes.free_json import EMPTY, NULL
from src.swarm.told import event, pending

log = structlog.get_logger(__name__)

TOPIC = "swarmstate.event"
PACKET_BYTES = 15_000
"""LiveKit takes 16 KiB, its own headers included, and says 15 KiB."""
_SEND_S = 5.0
"""How long one message may take to be on its way; the next one comes after it."""

_SEEN = frozenset(
    (
        "participant_added",
        "participant_updated",
        "participant_removed",
        "participant_state_changed",
        "status_changed",
        "baton_passed",
        "speech_heard",
    )
)
"""What everybody in the room can see or hear of the conversation, besides its turns."""
_HEARD = frozenset(("user", "assistant"))
"""Turns in these roles are said; the others are notes and results of tools."""

_encode = msgspec.json.Encoder().encode


class News:
    """Tells one room. Who is slow there, or gone, is LiveKit's concern: nothing here waits."""

    def __init__(
        self, room: rtc.Room, conversation: Conversation, count: Callable[[bool], None]
    ) -> None:
        """`count` is told of each message whether it was sent."""
        self._room, self._conversation, self._count = room, conversation, count

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Tell what happens from now on, for the length of the block."""
        async with background(self._tell()):
            yield

    async def _tell(self) -> None:
        # One is asked for when the one before is sent, so nothing piles up: what a slow LiveKit
        # leaves behind is read from the log.
        async with aclosing(self._conversation.changes()) as changes:
            async for one in changes:
                await self._send(packet(one))

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_SEND_S):
                await self._room.local_participant.publish_data(data, topic=TOPIC)
        except Exception as error:
            # Of whatever kind: no message is worth a room.
            log.warning("news.lost", room=self._room.name, error=repr(error))
            self._count(False)
        else:
            self._count(True)


def packet(one: Event | PendingEvent) -> bytes:
    """Return an event as the API's streams send it; `data` is null where it is not for all.

    It is null too where it would not fit into a packet. One that is pending has no `seq`.
    """
    item = pending(one.event) if isinstance(one, PendingEvent) else event(one)
    row = one.event if isinstance(one, PendingEvent) else one
    whole = _encode(replace(item, data=_open(row)))
    return whole if len(whole) <= PACKET_BYTES else _encode(replace(item, data=NULL))


def _open(row: Event) -> Raw:
    """Return what of an event's data everybody may have."""
    if row.type in _SEEN:
        return Raw(row.body)
    try:
        typed = decode_event(row.type, row.schema, row.body)
    except Undecodable:
        return NULL
    if isinstance(typed, MessageAdded) and typed.message.role in _HEARD:
        said = replace(typed.message, tool_calls=(), metrics=EMPTY)
        return Raw(encode_event(MessageAdded(said)))
    return NULL
