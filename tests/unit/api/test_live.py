"""Live sessions: what they show, and what a client that does not read costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from msgspec.structs import replace
from pydantic import SecretStr
from starlette.websockets import WebSocket, WebSocketState

from src.api.auth.door import Door
from src.api.auth.tokens import Tokens
from src.api.lifespan import Drain
from src.api.live import TOO_SLOW, Session
from src.api.rate_limits import RateLimits
from src.api.settings import ApiSettings
from src.state.models import Event, Version
from src.state.protocols import EventLog
from src.swarm.feed import Feed
from src.swarm.pending import Bounds, PendingEvent, PendingRooms
from src.swarm.rules.conversations import CONVERSATIONS
from src.swarm.service import SwarmService
from tests.unit.api.given import AT, Revoked, caller

QUEUE = 4


class Log:
    """A log of a hundred events."""

    def __init__(self) -> None:
        self.read = 0

    async def tail(self, id: str, from_seq: int, limit: int = 1000) -> Sequence[Event]:
        self.read = 100
        return [
            Event(id, Version(1, seq), f"k-{seq}:0", "message_added", 1, b"{}", "zoe", AT)
            for seq in range(from_seq, 101)
        ]


class Talking:
    """A service on which something is pending and then logged; the conversation is deleted last."""

    @asynccontextmanager
    async def follow(
        self, id: str, *, after: int
    ) -> AsyncIterator[AsyncIterator[Event | PendingEvent]]:
        yield self._events(id)

    async def _events(self, id: str) -> AsyncIterator[Event | PendingEvent]:
        said = Event(id, Version(1, 7), "k-1:0", "message_added", 1, b"{}", "zoe", AT)
        yield PendingEvent(1, said)
        yield replace(said, version=Version(1, 8))
        yield replace(said, version=Version(1, 9), event_id="k-2:0", type="deleted")


class Socket:
    """A client that reads everything."""

    application_state = WebSocketState.CONNECTED

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self._for_ever = asyncio.Event()
        self.all_read = asyncio.Event()

    async def receive(self) -> Any:
        # The client hangs up when it has seen the deletion.
        await self.all_read.wait()
        return {"type": "websocket.disconnect"}

    async def send_text(self, text: str) -> None:
        self.frames.append(msgspec.json.decode(text))

    async def close(self, code: int, reason: str | None = None) -> None:
        self.all_read.set()


class DeafSocket:
    """A client that keeps the connection open and takes nothing."""

    application_state = WebSocketState.CONNECTED

    def __init__(self) -> None:
        self.closed: int | None = None
        self._for_ever = asyncio.Event()

    async def receive(self) -> Any:
        await self._for_ever.wait()

    async def send_text(self, text: str) -> None:
        await self._for_ever.wait()

    async def close(self, code: int, reason: str | None = None) -> None:
        self.closed = code


async def test_what_is_pending_has_no_number_and_comes_again_with_one_under_the_same_id() -> None:
    socket = Socket()
    await _session(socket, Talking()).run("1.7", after=7)

    pending = next(frame for frame in socket.frames if frame["type"] == "pending")
    assert pending["event"]["id"] == "k-1:0"
    assert pending["event"].keys().isdisjoint({"seq", "version"})
    logged = [frame["event"] for frame in socket.frames if frame["type"] == "event"]
    assert [(one["id"], one["seq"]) for one in logged][:1] == [("k-1:0", 8)]


async def test_a_client_that_does_not_read_is_sent_away_with_a_bounded_queue() -> None:
    socket, log = DeafSocket(), Log()
    feed = Feed(cast("EventLog", log), PendingRooms(CONVERSATIONS, Bounds(0, 0, 0)))
    session = _session(socket, feed)

    async with asyncio.timeout(10):
        await session.run("1.0", after=0)

    assert socket.closed == TOO_SLOW
    assert session._waiting.qsize() <= QUEUE
    assert len(feed) == 0
    await feed.aclose()


def _door() -> Door:
    door = Door(Tokens("x" * 32))
    door.open(Revoked())
    return door


def _session(socket: object, service: object) -> Session:
    settings = ApiSettings(jwt_secret=SecretStr("x" * 32), live_queue=QUEUE)
    return Session(
        cast("WebSocket", socket),
        cast("SwarmService", service),
        _door(),
        caller("zoe"),
        "c-1",
        settings,
        Drain(),
        RateLimits(settings),
    )
