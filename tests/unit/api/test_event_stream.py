"""Server-sent events: what is logged has an id to come back with, what is pending has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from msgspec.structs import replace

from src.api.event_stream import EventStream
from src.api.middleware import Traffic
from src.state.models import Event, Version
from src.swarm.pending import PendingEvent
from tests.unit.api.given import AT

SAID = Event("c-1", Version(1, 7), "k-1:0", "message_added", 1, b"{}", "zoe", AT)


async def told() -> AsyncGenerator[Event | PendingEvent | None, None]:
    yield PendingEvent(1, SAID)
    yield None
    yield replace(SAID, version=Version(1, 8))


async def test_client_that_comes_back_does_not_go_on_behind_what_was_never_logged() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await EventStream(told(), Traffic(), lambda: False)({"type": "http"}, receive, send)

    body = b"".join(message.get("body", b"") for message in sent)
    frames = [frame for frame in body.decode().split("\n\n") if frame and frame[0] != ":"]
    pending, logged = (dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames)
    assert pending["event"] == "pending"
    assert "id" not in pending
    assert '"seq"' not in pending["data"]
    assert (logged["event"], logged["id"]) == ("message_added", "8")
    assert '"k-1:0"' in pending["data"]
    assert '"k-1:0"' in logged["data"]
