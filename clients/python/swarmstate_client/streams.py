"""Server-sent events and JSON Lines, which go on by themselves behind the last thing seen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import aiohttp

from swarmstate_client.asks import Ask
from swarmstate_client.errors import NotAnswered, NotUnderstood, SwarmstateError
from swarmstate_client.transport import Transport, Tries

T = TypeVar("T")

_LONGEST_LINE_BYTES = 16 << 20
"""A state and an event are at most 256 KiB; beyond this bound it is no server of ours."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event; without data it only says where the stream stands."""

    id: str | None
    event: str
    data: str


async def follow(
    transport: Transport, ask: Ask, place: str | None, read: Callable[[Frame], T | None]
) -> AsyncGenerator[T, None]:
    """Give what `read` makes of each event, each once and in order, on whichever server.

    `place`: the id to go on behind; None for the server's choice.

    Raises:
        ProblemError: the token's right to it has ended. NotAnswered: no server gives it.
    """
    tries = Tries(transport, ask)
    while True:
        resumed = ask if place is None else replace(ask, headers={"Last-Event-ID": place})
        greeted = False
        try:
            async with transport.answer(resumed, transport.streaming) as response:
                async for frame in frames(response.content):
                    # The first comment is sent to everybody: only what comes after it is progress.
                    if frame.data or greeted:
                        tries.went_on()
                    greeted = True
                    place = frame.id or place
                    found = read(frame) if frame.data else None
                    if found is not None:
                        yield found
            raise NotAnswered(f"{ask}: the stream has ended; its server may be going away")
        except SwarmstateError as error:
            await tries.failed(error)


async def frames(content: aiohttp.StreamReader) -> AsyncIterator[Frame]:
    """Give the events of a stream (WHATWG HTML, section 9.2), and comments as empty ones."""
    id: str | None = None
    event, data, begun = "", "", False
    async for line in lines(content):
        name, _, value = line.decode(errors="replace").rstrip("\r").partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            id = value
        elif name == "event":
            event = value
        elif name == "data":
            data = f"{data}\n{value}" if data else value
        elif not name and not value and begun:
            yield Frame(id, event, data)
            id, event, data, begun = None, "", "", False
            continue
        begun = True


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Give whole lines; what was torn off in the middle is left out.

    Raises:
        NotUnderstood: a line without an end.
    """
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > _LONGEST_LINE_BYTES:
            raise NotUnderstood(f"a line is longer than {_LONGEST_LINE_BYTES} bytes")
