"""Two real server processes on stores of their own, and what a client needs to talk to them."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.demo.cluster import Stores, open_cluster
from src.demo.processes import ServerProcess, free_ports
from src.embedded import Servers
from tests.benchmarks import fixture

_SECRET = "benchmarks-benchmarks-benchmarks"


class Answer(msgspec.Struct, frozen=True):
    """What came back over HTTP."""

    status: int
    version: str
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Listening(Protocol):
    """A server process, or what stands before several."""

    @property
    def url(self) -> str: ...


class Front(msgspec.Struct, frozen=True):
    """A proxy before the servers."""

    url: str


class Cluster:
    """Servers A and B, and a client with an administrator's token."""

    def __init__(self, a: ServerProcess, b: ServerProcess, session: aiohttp.ClientSession) -> None:
        self.a, self.b = a, b
        self.token = issue_token(_SECRET, "bench", [Role.ADMIN], lifetime=timedelta(hours=1))
        self._session = session
        self._numbers = itertools.count(1)
        self._chance = random.Random(9)

    async def send(
        self, method: str, server: Listening, path: str, body: bytes = b"", **headers: str
    ) -> Answer:
        """Send one request; what comes back, whatever its status."""
        common = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, f"{server.url}/api/v1{path}", data=body or None, headers={**common, **wanted}
        ) as response:
            version = response.headers.get("X-Swarm-Version", "")
            return Answer(response.status, version, await response.read())

    async def done(
        self, method: str, server: Listening, path: str, body: bytes = b"", **headers: str
    ) -> Answer:
        """Send one request that has to succeed."""
        answer = await self.send(method, server, path, body, **headers)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    def stranger(self) -> str:
        """Return a token of its own, of a member."""
        return issue_token(_SECRET, f"member-{next(self._numbers)}", [Role.MEMBER])

    async def begin(self, server: ServerProcess, turns: int = 12) -> str:
        """Make a conversation of about 8 KB, owned by this server; return its id."""
        id = f"cluster-{next(self._numbers)}"
        body = msgspec.json.decode(msgspec.json.encode(fixture.create(id)))
        del body["type"]
        await self.done("POST", server, "/conversations", msgspec.json.encode(body))
        for _ in range(turns):
            await self.speak(server, id)
        return id

    def turn(self) -> bytes:
        """Return the body of a new turn."""
        said = msgspec.json.decode(msgspec.json.encode(fixture.turn(self._chance)))
        del said["type"]
        return msgspec.json.encode(said)

    async def speak(self, server: ServerProcess, id: str) -> Answer:
        """Add a turn and wait for its acknowledgement."""
        return await self.done("POST", server, f"/conversations/{id}/messages", self.turn())


@asynccontextmanager
async def open_two(servers: Servers, folder: Path) -> AsyncIterator[Cluster]:
    """Start A and B; drain and end them at the end of the block."""
    stores = Stores(servers, folder, _SECRET, settings={})
    # The servers close a connection that is idle for 5 s; a client that keeps it longer may write
    # into one that is just being closed.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with (
        open_cluster(stores, free_ports(2)) as (a, b),
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Cluster(a, b, session)
