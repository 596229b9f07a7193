"""Speaks HTTP with one server, as anybody outside would, and keeps a ledger of what was acked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from src.demo.errors import NotAnswered

_PATIENCE_S = 30.0
_RETRY_S = 0.05
_API = "/api/v1"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A conversation as one server answered."""

    version: tuple[int, int]
    labelled: bool
    """Whether the server said that it may be older than the newest write."""
    seconds: float


class Acked(msgspec.Struct, frozen=True, gc=False):
    """A turn that a server acknowledged: the key it was sent with, and the version it made."""

    conversation_id: str
    key: str
    author: str
    text: str
    version: tuple[int, int]
    at: float
    """When the ack arrived, on this process's clock."""


class Ledger:
    """What was acknowledged, in order of the acks: the client's own record, kept for the end."""

    def __init__(self) -> None:
        self.turns: list[Acked] = []
        self.in_flight = 0
        """Turns that were sent and are not answered."""

    def of(self, conversation_id: str) -> list[Acked]:
        return [turn for turn in self.turns if turn.conversation_id == conversation_id]


class Client:
    """One server, seen from outside."""

    def __init__(
        self, session: aiohttp.ClientSession, name: str, url: str, token: str, ledger: Ledger
    ) -> None:
        self.name, self.url = name, url
        self.headers = {"Authorization": f"Bearer {token}"}
        self._token = token
        self._session = session
        self._ledger = ledger

    def over(self, session: aiohttp.ClientSession) -> Client:
        """Return the same client on other connections."""
        return Client(session, self.name, self.url, self._token, self._ledger)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        root: str = _API,
    ) -> dict[str, Any]:  # JSON of any route
        """Send a request that has to work, and return its JSON.

        Raises:
            NotAnswered: any status but a good one.
        """
        async with self._session.request(
            method,
            f"{self.url}{root}{path}",
            data=None if body is None else msgspec.json.encode(body),
            headers={**self.headers, "Content-Type": "application/json", **(headers or {})},
        ) as response:
            content = await response.read()
            if response.status >= 300:
                raise NotAnswered(
                    f"{method} {path} on server {self.name}: {response.status} {content[:300]!r}"
                )
        answer: dict[str, Any] = msgspec.json.decode(content) if content else {}
        return answer

    async def begin(
        self,
        conversation_id: str,
        participants: Sequence[Mapping[str, str]],
        config: Mapping[str, object] | None = None,
        *,
        running: bool = False,
    ) -> tuple[int, int]:
        """Begin a conversation, which makes this server its owner; return its version."""
        body = {"id": conversation_id, "participants": participants, "config": config or {}}
        answer = await self.request("POST", "/conversations", body)
        if running:
            answer = await self.command(conversation_id, {"type": "lifecycle", "action": "start"})
        return parse_version(answer["version"])

    async def command(self, conversation_id: str, command: Mapping[str, object]) -> dict[str, Any]:
        """Submit a command."""
        return await self.request("POST", f"/conversations/{conversation_id}/commands", command)

    async def say(self, conversation_id: str, author: str, text: str, key: str) -> Acked:
        """Add one turn of a person, and note its ack.

        Raises:
            NotAnswered, aiohttp.ClientError, OSError, TimeoutError: no ack; whether it is logged
                is not known, and the same key may be sent again.
        """
        body = {"author": {"kind": "person", "id": author}, "text": text}
        self._ledger.in_flight += 1
        try:
            answer = await self.request(
                "POST",
                f"/conversations/{conversation_id}/messages",
                body,
                {"Idempotency-Key": key},
            )
        finally:
            self._ledger.in_flight -= 1
        version = parse_version(answer["version"])
        acked = Acked(conversation_id, key, author, text, version, time.perf_counter())
        self._ledger.turns.append(acked)
        return acked

    async def read(
        self, conversation_id: str, at_least: tuple[int, int] | None = None
    ) -> Reading | None:
        """Read a conversation; None when the server refused to answer with something older."""
        headers = dict(self.headers)
        if at_least is not None:
            headers["X-Swarm-Version"] = f"{at_least[0]}.{at_least[1]}"
        began = time.perf_counter()
        async with self._session.get(
            f"{self.url}{_API}/conversations/{conversation_id}", headers=headers
        ) as response:
            content = await response.read()
            seconds = time.perf_counter() - began
            if response.status == 503:
                return None
            if response.status != 200:
                raise NotAnswered(
                    f"reading {conversation_id} on server {self.name}: {response.status} "
                    f"{content[:300]!r}"
                )
            version = parse_version(response.headers["X-Swarm-Version"])
            return Reading(version, response.headers["X-Swarm-Freshness"] != "fresh", seconds)

    async def messages(self, conversation_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the newest messages, newest first."""
        path = f"/conversations/{conversation_id}/messages?limit={limit}"
        messages: list[dict[str, Any]] = (await self.request("GET", path))["messages"]
        return messages

    async def reply(self, conversation_id: str, key: str, patience_s: float = 10.0) -> str:
        """Wait until a bot has answered the turn of this key, and return what it said.

        Raises:
            NotAnswered: no bot did.
        """
        turn = f"{key}:0"
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            for message in await self.messages(conversation_id):
                if message.get("reply_to") == turn:
                    text: str = message["text"]
                    return text
            await asyncio.sleep(_RETRY_S / 10)
        raise NotAnswered(f"no bot answered within {patience_s:.0f} s")


async def say_until_acked(
    servers: Sequence[Client], conversation_id: str, author: str, text: str, key: str
) -> Acked:
    """Send a turn to one server after another, always with the same key, until one acks it.

    Raises:
        NotAnswered: nobody did for 30 s.
    """
    deadline = time.perf_counter() + _PATIENCE_S
    failure = "never tried"
    attempt = 0
    while time.perf_counter() < deadline:
        server = servers[attempt % len(servers)]
        attempt += 1
        try:
            return await server.say(conversation_id, author, text, key)
        except (NotAnswered, aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = str(error) or type(error).__name__
        await asyncio.sleep(_RETRY_S)
    raise NotAnswered(f"no server acknowledged turn {key}: {failure}")


def parse_version(token: str) -> tuple[int, int]:
    """Return (epoch, seq) of `<epoch>.<seq>`."""
    epoch, _, seq = token.partition(".")
    return int(epoch), int(seq)
