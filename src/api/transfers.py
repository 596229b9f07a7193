"""Bytes of files on their way in and out: part by part, and never waiting without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from src.api.errors import CutShort


async def incoming(request: Request) -> AsyncIterator[bytes]:
    """Give a request's body as it comes; `BodyLimit` waits for none of it without end.

    Raises:
        CutShort: the client went away.
    """
    try:
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                if part:
                    yield part
    except ClientDisconnect as error:
        raise CutShort from error


async def download(
    parts: AsyncGenerator[bytes, None], status: int, headers: dict[str, str], patience_s: float
) -> Response:
    """Return an answer whose body is read while it is sent, no faster than the client takes it.

    The first part is read before anything is said, so that a store which is away is an error and
    no broken answer.
    """
    first = await anext(parts, b"")

    async def all_parts() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts):
            yield first
            async for part in parts:
                yield part

    return _Download(all_parts(), status, headers, patience_s)


class _Download(StreamingResponse):
    """Hangs up on a client that takes nothing for `patience_s`."""

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        status: int,
        headers: dict[str, str],
        patience_s: float,
    ) -> None:
        super().__init__(parts, status, headers)
        self._parts = parts
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patiently(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        # Closed here and now, whoever ended it: its place is another download's.
        async with aclosing(self._parts):
            await super().__call__(scope, receive, patiently)
