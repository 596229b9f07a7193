"""Live sessions: what a client that does not read costs, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from pydantic import SecretStr
from starlette.websockets import WebSocket, WebSocketState

from src.api.lifespan import Drain
from src.api.live import TOO_SLOW, Session
from src.api.settings import ApiSettings
from src.state.models import Event, Version
from src.state.protocols import EventLog
from src.swarm.feed import Feed
from src.swarm.pending import Bounds, PendingRooms
from src.swarm.service import SwarmService
from tests.unit.api.given import AT, caller

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


async def test_a_client_that_does_not_read_is_sent_away_with_a_bounded_queue() -> None:
    socket, log = DeafSocket(), Log()
    feed = Feed(cast("EventLog", log), PendingRooms(Bounds(0, 0, 0)))
    settings = ApiSettings(jwt_secret=SecretStr("x" * 32), live_queue=QUEUE)
    session = Session(
        cast("WebSocket", socket),
        cast("SwarmService", feed),
        caller("zoe"),
        "c-1",
        settings,
        Drain(),
    )

    async with asyncio.timeout(10):
        await session.run("1.0", after=0)

    assert socket.closed == TOO_SLOW
    assert session._waiting.qsize() <= QUEUE
    assert len(feed) == 0
    await feed.aclose()
