"""Clients of running rooms while PostgreSQL is away: what they were promised, shown, and found."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import msgspec

from tests.support.cluster_settings import eventually

_MEMBERS = [
    {"id": "ada", "kind": "person", "name": "Ada"},
    {"id": "scout", "kind": "bot", "name": "Scout"},
]
_TRIES = 200
_AGAIN_S = 0.1


class Answer(msgspec.Struct, frozen=True):
    """A turn that was acknowledged."""

    key: str
    pending: bool
    took_s: float


class Reading(msgspec.Struct, frozen=True):
    """What a server shows of the room."""

    pending: int
    freshness: str
    texts: Sequence[str]


class RoomClient:
    """Ada, who talks with a bot in one conversation and follows it at its host."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], id: str) -> None:
        self._session = session
        self._urls = urls
        self.id = id
        self._numbers = itertools.count(1)
        self.acked: list[Answer] = []
        """In the order of the acks: the next turn is said when the last one was acked."""
        self.refused = 0
        """Times that a server sent her away."""
        self.pending: list[str] = []
        """Ids of the turns that the host's stream has shown as pending ..."""
        self.logged: list[str] = []
        """... and as logged."""

    @property
    def keys(self) -> Sequence[str]:
        return [answer.key for answer in self.acked]

    @property
    def promised(self) -> Sequence[str]:
        """Keys of the turns whose first ack said `pending`."""
        return [answer.key for answer in self.acked if answer.pending]

    def _url(self, server: int, rest: str = "") -> str:
        return f"{self._urls[server]}/api/v1/conversations{rest}"

    async def begin(self, server: int) -> None:
        """Begin the conversation on this server, which hosts it from then on, and start it."""
        begin = {"id": self.id, "participants": _MEMBERS}
        start = {"type": "lifecycle", "action": "start"}
        for rest, body in (("", begin), (f"/{self.id}/commands", start)):
            async with self._session.post(self._url(server, rest), json=body) as response:
                assert response.status < 300, await response.text()

    async def say(self, *servers: int) -> None:
        """Add a turn; who is sent away tries the next of these servers, with the same key.

        Raises:
            AssertionError: a wrong answer, or none that counts after many tries.
        """
        key = f"turn-{next(self._numbers)}"
        body = {"author": {"kind": "person", "id": "ada"}, "text": key}
        for server in itertools.islice(itertools.cycle(servers), _TRIES):
            began = time.monotonic()
            try:
                async with self._session.post(
                    self._url(server, f"/{self.id}/messages"),
                    json=body,
                    headers={"Idempotency-Key": key},
                ) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError):
                continue
            if response.status in (201, 202):
                pending = answer["durability"] == "pending"
                assert (response.status == 202) is pending
                self.acked.append(Answer(key, pending, time.monotonic() - began))
                return
            assert response.status == 503, answer
            assert response.headers["Retry-After"]
            self.refused += 1
            await asyncio.sleep(_AGAIN_S)
        raise AssertionError(f"{key} of {self.id} was sent away {_TRIES} times")

    async def talk(self, for_s: float, pace_s: float, *servers: int) -> None:
        """Say something at this pace, to these servers in turn."""
        until = time.monotonic() + for_s
        first = itertools.cycle(range(len(servers)))
        while time.monotonic() < until:
            place = next(first)
            await self.say(*servers[place:], *servers[:place])
            await asyncio.sleep(pace_s)

    async def read(self, server: int) -> Reading:
        async with self._session.get(self._url(server, f"/{self.id}")) as response:
            state = await response.json()
            assert response.status == 200, state
            return Reading(
                int(response.headers.get("X-Swarm-Pending", 0)),
                response.headers["X-Swarm-Freshness"],
                [message["text"] for message in state["messages"]],
            )

    async def until_logged(self, *servers: int) -> None:
        """Wait until these servers show nothing that is pending."""

        async def nothing_waits() -> bool:
            found = [await self.read(server) for server in servers]
            return all(one.pending == 0 and one.freshness == "fresh" for one in found)

        await eventually(nothing_waits, 60, what=f"nothing of {self.id} is pending any more")

    @asynccontextmanager
    async def following(self, server: int) -> AsyncIterator[None]:
        """Take note of what a server's stream shows, for the length of the block."""
        follow = asyncio.create_task(self._follow(server))
        try:
            yield
        finally:
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)

    async def _follow(self, server: int) -> None:
        async with self._session.get(
            self._url(server, f"/{self.id}/stream?after=0"),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            kind = ""
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    item = msgspec.json.decode(value)
                    if item["type"] == "message_added":
                        (self.pending if kind == "pending" else self.logged).append(item["id"])


@asynccontextmanager
async def open_session(token: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open connections for any number of clients."""
    async with aiohttp.ClientSession(
        # Idle ones are given up before the server does so: a POST on its way then would break.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
        headers={"Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientTimeout(total=15),
    ) as session:
        yield session


class Turns:
    """The turns of one conversation as the log has them, in order."""

    def __init__(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self.ids = [id for id, _ in rows]
        self.people = [id for id, turn in rows if turn["author"]["kind"] == "person"]
        self.answered = [turn["reply_to"] for _, turn in rows if turn["author"]["kind"] == "bot"]

    def broken(self, client: RoomClient) -> Sequence[str]:
        """Say what the log does not keep of what was promised to a client."""
        said = [f"{key}:0" for key in client.keys]
        wrong = []
        if sorted(self.people) != sorted(said):
            lost, more = set(said) - set(self.people), len(self.people) - len(set(self.people))
            wrong.append(f"{client.id}: {len(lost)} acked turns are lost, {more} are doubled")
        promised = {f"{key}:0" for key in client.promised}
        order = [id for id in self.people if id in promised]
        if order != [id for id in said if id in promised]:
            wrong.append(f"{client.id}: pending turns were logged in another order")
        if sorted(self.answered) != sorted(said):
            wrong.append(f"{client.id}: {len(said)} turns have {len(self.answered)} replies")
        return wrong


async def turns_of(database: asyncpg.Connection, id: str) -> Turns:
    """Read the log of a conversation."""
    rows = await database.fetch(
        "SELECT event_id, body FROM events WHERE conversation_id = $1 "
        "AND type = 'message_added' ORDER BY seq",
        id,
    )
    return Turns([(r["event_id"], msgspec.json.decode(r["body"])["message"]) for r in rows])
