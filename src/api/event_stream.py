"""Server-sent events (WHATWG HTML, section 9.2) as one ASGI answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Generic, TypeVar

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from src.api.schemas.answers import encode
from src.state.models import Event
from src.swarm.pending import PendingEvent
from src.swarm.told import event, pending

T = TypeVar("T")

log = structlog.get_logger(__name__)

KEEP_ALIVE = b": keep-alive\n\n"
_GOING_AWAY = b"retry: 100\n: this server is going away; connect again with Last-Event-ID\n\n"
"""The standard's own hint: browsers come back after that many milliseconds."""
_STALLED_S = 30.0
"""A client that takes nothing for so long is sent away: it comes back with Last-Event-ID."""


class EventStream(Response, Generic[T]):
    """Sends events until they end, the client goes away, or it takes nothing for too long.

    `frame` writes one; None stands for a while without any. `place` is held from the beginning to
    the end; one that it does not give is an answer of its own.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[T | None, None],
        frame: Callable[[T | None], bytes],
        place: AbstractContextManager[None],
        going_away: Callable[[], bool],
        status_code: int = 200,
    ) -> None:
        self.status_code = status_code
        self.background = None
        self._events = events
        self._frame = frame
        self._place = place
        self._going_away = going_away
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        with self._place:
            await send({"type": "http.response.start", **start})
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_events(send))
                leaving = tasks.create_task(_until_gone(receive))
                sending.add_done_callback(lambda _: leaving.cancel())
                leaving.add_done_callback(lambda _: sending.cancel())

    async def _send_events(self, send: Send) -> None:
        try:
            # Something at once, so that proxies and clients see the stream begin.
            await _send(send, self._frame(None))
            async with aclosing(self._events) as events:
                async for one in events:
                    await _send(send, self._frame(one))
            last = _GOING_AWAY if self._going_away() else b""
            await send({"type": "http.response.body", "body": last, "more_body": False})
        except OSError:
            # The client went away between two events.
            return
        except _Stalled:
            # An answer that is not brought to its end has its connection closed.
            log.info("stream.stalled", for_s=_STALLED_S)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Stalled(Exception):
    """The client takes nothing."""


async def _send(send: Send, body: bytes) -> None:
    try:
        async with asyncio.timeout(_STALLED_S):
            await send({"type": "http.response.body", "body": body, "more_body": True})
    except TimeoutError as error:
        raise _Stalled from error


def frame(one: Event | PendingEvent | None) -> bytes:
    """Write an event of a conversation; its id is the sequence number."""
    if one is None:
        return KEEP_ALIVE
    if isinstance(one, PendingEvent):
        # Without an id: a client that comes back must not go on behind what was never logged.
        return b"event: pending\ndata: %s\n\n" % encode(pending(one.event))
    data = encode(event(one))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (one.version.seq, one.type.encode(), data)
