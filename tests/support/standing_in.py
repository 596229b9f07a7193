"""A server in place of swarmstate: it answers what a test wrote down, and keeps what it was asked.

It has no rules of its own. What clients do about an answer is tested here; that servers give such
answers is tested on servers.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer
from swarmstate_client import Patience

T = TypeVar("T")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Hasty(Patience):
    """Does not wait, and keeps what it was asked to."""

    attempts: int = 3
    asked: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        return

    def pause(self, failures: int, asked_s: float | None) -> float:
        self.asked.append(asked_s)
        return 0.0


@dataclass(frozen=True)
class Asked:
    """One request, read to its end."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # Whatever was sent.
        return json.loads(self.body)


@dataclass
class StandIn:
    """Where it listens, what it was asked, and what it will answer, in order."""

    answers: deque[Answer]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        query = dict(request.query)
        self.asked.append(Asked(request.method, request.path, query, dict(request.headers), body))
        if not self.answers:
            return web.json_response({"detail": "the test wrote down no more"}, status=599)
        return await self.answers.popleft()(request)


@asynccontextmanager
async def standing_in(*answers: Answer) -> AsyncIterator[StandIn]:
    """Listen on loopback until the end of the block."""
    stand_in = StandIn(deque(answers))
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", stand_in.take)
    async with TestServer(app) as server:
        stand_in.url = str(server.make_url("")).rstrip("/")
        yield stand_in


def says(body: object, status: int = 200, **headers: str) -> Answer:
    """Answer JSON; `_` in the name of a header stands for `-`."""

    async def answer(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=named)

    return answer


def done(status: int = 204) -> Answer:
    """Answer without a body."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    return answer


def refuses(status: int, code: str, **headers: str) -> Answer:
    """Answer a problem."""
    body = {"status": status, "code": code, "detail": f"it is {code}", "request_id": "r-1"}
    return says(body, status, **headers)


def sends(content: bytes, status: int = 200, *, cut: bool = False, **headers: str) -> Answer:
    """Answer bytes as they are; `cut`: the connection breaks behind them."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        if cut or "Content-Length" not in response.headers:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content)
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


async def breaks(request: web.Request) -> web.StreamResponse:
    """Read the request and close the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def told_until(kind: type[Exception], told: AsyncIterator[T]) -> list[T]:
    """Return all that comes before this error; it has to come."""
    found: list[T] = []
    try:
        async for one in told:
            found.append(one)  # noqa: PERF401  # A comprehension would lose it with the error.
    except kind:
        return found
    raise AssertionError(f"it ended without {kind.__name__}")
