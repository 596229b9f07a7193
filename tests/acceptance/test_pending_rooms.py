"""PostgreSQL away: a running room of a real server talks on, and all of it is logged on return."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec

from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.postgres_proxy import PostgresProxy
from tests.support.proxies import open_proxy
from tests.support.stage import Tell

_AWAY_S = 8.0
_PACE_S = 0.2
_SETTINGS = {
    **QUICK,
    "SWARMSTATE_STATEMENT_TIMEOUT": "PT1S",
    "SWARMSTATE_SUBMIT_TIMEOUT": "PT1.5S",
    "SWARMSTATE_PATIENCE": "PT1S",
}
_MEMBERS = [
    {"id": "ada", "kind": "person", "name": "Ada"},
    {"id": "scout", "kind": "bot", "name": "Scout"},
]


class Room:
    """The conversation "c", as its clients see it."""

    def __init__(self, session: aiohttp.ClientSession, cluster: Cluster) -> None:
        self._session = session
        self._cluster = cluster
        self._numbers = itertools.count(1)
        self.acked: dict[str, str] = {}
        """Key -> durability of the first ack, in the order of the acks."""
        self.pending: list[str] = []
        """Ids of what the host's stream has shown as pending."""
        self.logged: list[str] = []
        """Ids of the turns that it has shown as logged."""

    def url(self, server: int, rest: str = "") -> str:
        return f"{self._cluster.urls[server]}/api/v1/conversations{rest}"

    async def begin(self) -> None:
        begin = {"id": "c", "participants": _MEMBERS}
        start = {"type": "lifecycle", "action": "start"}
        for rest, body in (("", begin), ("/c/commands", start)):
            async with self._session.post(self.url(0, rest), json=body) as response:
                assert response.status < 300, await response.text()

    async def say(self, *servers: int) -> str:
        """Add a turn of Ada's; who is sent away tries the next server, with the same key."""
        key = f"turn-{next(self._numbers)}"
        for server in itertools.islice(itertools.cycle(servers), 60):
            body = {"author": {"kind": "person", "id": "ada"}, "text": key}
            try:
                async with self._session.post(
                    self.url(server, "/c/messages"), json=body, headers={"Idempotency-Key": key}
                ) as response:
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError):
                continue
            if response.status in (201, 202):
                pending = answer["durability"] == "pending"
                assert (response.status == 202) is pending
                self.acked[key] = answer["durability"]
                return key
            assert response.status == 503, answer
            assert response.headers["Retry-After"]
            await asyncio.sleep(0.1)
        raise AssertionError(f"{key} was sent away by all")

    async def read(self, server: int) -> tuple[int, str, list[str]]:
        """Return how many turns are pending, the freshness, and the texts of the state."""
        async with self._session.get(self.url(server, "/c")) as response:
            assert response.status == 200
            state = await response.json()
            pending = int(response.headers.get("X-Swarm-Pending", 0))
            texts = [message["text"] for message in state["messages"]]
            return pending, response.headers["X-Swarm-Freshness"], texts

    async def follow(self) -> None:
        """Take note of what the host's stream shows."""
        async with self._session.get(
            self.url(0, "/c/stream?after=0"), timeout=aiohttp.ClientTimeout(total=None)
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
async def room_of_two(
    database_url: str, redis_url: str, folder: Path
) -> AsyncIterator[tuple[Room, Cluster, list[PostgresProxy]]]:
    """Two servers, each with its own way to PostgreSQL, and a room that runs on the first."""
    async with AsyncExitStack() as stack:
        ways = [
            await stack.enter_async_context(open_proxy(PostgresProxy(database_url)))
            for _ in range(2)
        ]
        cluster = await stack.enter_async_context(
            open_cluster(
                database_url,
                redis_url,
                folder,
                settings=_SETTINGS,
                ways=[way.url for way in ways],
            )
        )
        headers = {"Authorization": f"Bearer {cluster.token}"}
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=10))
        )
        room = Room(session, cluster)
        await room.begin()
        following = asyncio.create_task(room.follow())
        try:
            yield room, cluster, ways
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            for way in ways:
                way.restore()


async def talk(room: Room, for_s: float, *servers: int) -> None:
    """Let Ada talk at her pace, to these servers in turn."""
    order = itertools.cycle(range(len(servers)))
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        first = next(order)
        await room.say(*servers[first:], *servers[:first])
        await asyncio.sleep(_PACE_S)


async def log_of(database: asyncpg.Connection) -> list[tuple[str, dict[str, Any]]]:
    """Return (event id, message) of each turn in the log, in order."""
    rows = await database.fetch(
        "SELECT event_id, body FROM events WHERE conversation_id = 'c' "
        "AND type = 'message_added' ORDER BY seq"
    )
    return [(row["event_id"], msgspec.json.decode(row["body"])["message"]) for row in rows]


async def until_logged(room: Room, *servers: int) -> None:
    async def nothing_is_pending() -> bool:
        found = [await room.read(server) for server in servers]
        return all(pending == 0 and freshness == "fresh" for pending, freshness, _ in found)

    await eventually(nothing_is_pending, 20, what="nothing is pending any more")


def answered(log: list[tuple[str, dict[str, Any]]], keys: list[str]) -> Callable[[], bool]:
    """Whether each of these turns has exactly one reply in this log."""
    replies = [message["reply_to"] for _, message in log if message["author"]["kind"] == "bot"]
    return lambda: sorted(replies) == sorted(f"{key}:0" for key in keys)


async def test_running_room_talks_on_while_postgres_is_silent_and_loses_nothing(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with room_of_two(database_url, redis_url, tmp_path) as (room, cluster, ways):
        await talk(room, 1.0, 0, 1)
        for way in ways:
            way.half_open()
        await talk(room, _AWAY_S, 0, 1)
        pending, freshness, texts = await room.read(0)
        assert pending > 0
        assert freshness.startswith("stale; age=")
        assert f"turn-{len(room.acked)}" not in texts
        for way in ways:
            way.restore()
        await until_logged(room, 0, 1)
        await talk(room, 1.0, 0, 1)
        keys = list(room.acked)

        async def all_said() -> bool:
            return answered(await log_of(cluster.database), keys)()

        await eventually(all_said, 10, what="each turn is in the log with one reply")
        log = await log_of(cluster.database)
        await eventually(lambda: len(room.logged) == len(log), 10, what="the stream has it all")

    names = [name for name, _ in log]
    people = [name for name, message in log if message["author"]["kind"] == "person"]
    promised = [key for key, durability in room.acked.items() if durability == "pending"]
    tell(f"{len(keys)} turns, {len(promised)} of them pending, {len(room.pending)} shown as such")
    assert people == [f"{key}:0" for key in keys], "once each, in the order of the acks"
    assert len(promised) >= 10
    assert len(set(room.pending)) == len(room.pending) >= 2 * len(promised) - 2
    assert room.pending == [name for name in names if name in set(room.pending)]
    assert room.logged == names


async def test_pending_turns_reach_the_server_that_took_the_room_over(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with room_of_two(database_url, redis_url, tmp_path) as (room, cluster, ways):
        await talk(room, 1.0, 0)
        ways[0].half_open()
        # The host's lane is its own until it hears of the takeover; then it sends clients away.
        while "pending" not in room.acked.values():
            await room.say(0, 1)
        await talk(room, 3.0, 0, 1)
        owner = await cluster.database.fetchval(
            "SELECT url FROM servers JOIN conversations c ON c.owner_id = servers.id"
        )
        assert owner == cluster.urls[1]
        ways[0].restore()
        await until_logged(room, 0, 1)
        keys = list(room.acked)

        async def all_said() -> bool:
            return answered(await log_of(cluster.database), keys)()

        await eventually(all_said, 10, what="each turn is in the log with one reply")
        log = await log_of(cluster.database)

    promised = [f"{key}:0" for key, durability in room.acked.items() if durability == "pending"]
    people = [name for name, message in log if message["author"]["kind"] == "person"]
    tell(f"{len(keys)} turns, {len(promised)} of them pending")
    assert sorted(people) == sorted(f"{key}:0" for key in keys), "once each"
    assert [name for name in people if name in promised] == promised, "in the order of the acks"
