"""Server-sent events: what is logged has an id to come back with, what is pending has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from typing import Any

from msgspec.structs import replace
from structlog.testing import capture_logs

from src.api.event_stream import EventStream, frame
from src.api.middleware import Traffic
from src.api.streams import Streams
from src.state.models import Event, Version
from src.swarm.pending import PendingEvent
from tests.support.clock import virtual_time
from tests.unit.api.given import AT, caller

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
        stream = EventStream[Event | PendingEvent](told(), frame, nullcontext(), lambda: False)
        await stream({"type": "http"}, receive, send)

    body = b"".join(message.get("body", b"") for message in sent)
    frames = [frame for frame in body.decode().split("\n\n") if frame and frame[0] != ":"]
    pending, logged = (dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames)
    assert pending["event"] == "pending"
    assert "id" not in pending
    assert '"seq"' not in pending["data"]
    assert (logged["event"], logged["id"]) == ("message_added", "8")
    assert '"k-1:0"' in pending["data"]
    assert '"k-1:0"' in logged["data"]


@virtual_time
async def test_client_that_takes_nothing_is_sent_away() -> None:
    taken: list[Any] = []

    async def send(message: Any) -> None:
        taken.append(message)
        if len(taken) == 3:
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    closed: list[bool] = []

    async def endless() -> AsyncGenerator[Event | PendingEvent | None, None]:
        try:
            while True:
                yield SAID
        finally:
            closed.append(True)

    traffic = Traffic()
    place = Streams(traffic, 1).stream(caller("zoe"))
    stream = EventStream[Event | PendingEvent](endless(), frame, place, lambda: False)
    with capture_logs() as logs:
        await stream({"type": "http"}, receive, send)
    assert [line["event"] for line in logs] == ["stream.stalled"]
    assert (closed, traffic.streams) == ([True], 0)
