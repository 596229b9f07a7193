"""Two real servers behind nginx, round robin: any server answers any request, and counts it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from redis import Redis

from tests.support.api import bearer
from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.nginx import in_front_of, needs_nginx

pytestmark = needs_nginx

ROOMS = "/api/v1/conversations"
BOTS = "/api/v1/bots"
ADA = {"id": "ada", "kind": "bot", "name": "Ada"}
ZOE = {"id": "zoe", "kind": "person", "name": "Zoe"}
SETTINGS = {**QUICK, "SWARMSTATE_API_TRUSTED_PROXIES": '["127.0.0.1"]'}
TURNS = 20
LOGOUTS = 7
PROFILE = "/api/v1/profile"
PERSON = {"email": "zoe@example.org", "password": "correct horse battery"}


class Door:
    """nginx, the servers behind it, and a client with a service's token."""

    def __init__(self, cluster: Cluster, url: str, log: Path) -> None:
        self.cluster, self.url, self._log = cluster, url, log

    @asynccontextmanager
    async def client(
        self, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientSession]:
        own = {"Authorization": f"Bearer {self.cluster.token}"} if headers is None else headers
        async with (
            asyncio.timeout(60),
            aiohttp.ClientSession(self.url, headers=own, raise_for_status=False) as session,
        ):
            yield session

    def answered_by(self) -> Counter[str]:
        """Count what nginx has logged for each server."""
        return Counter(re.findall(r'"upstream":"([\d.:]+)"', self._log.read_text()))


@asynccontextmanager
async def opened(
    database_url: str, redis_url: str, folder: Path, **settings: str
) -> AsyncIterator[Door]:
    async with open_cluster(
        database_url, redis_url, folder, settings={**SETTINGS, **settings}
    ) as cluster:
        ports = [server.port for server in cluster.servers]
        with in_front_of(folder, *ports) as url:
            yield Door(cluster, url, folder / "access.log")


async def sent(
    session: aiohttp.ClientSession, method: str, path: str, status: int, **given: Any
) -> tuple[Any, Mapping[str, str]]:
    """Return the JSON and the headers of an answer that has this status."""
    async with session.request(method, path, **given) as answer:
        content = await answer.read()
        assert answer.status == status, (method, path, answer.status, content)
        return (await answer.json() if content else None), answer.headers


async def test_any_server_answers_any_request(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, redis_url, tmp_path) as door:
        await hold_a_conversation(door)
        answered = door.answered_by()
        await edit_a_config(door)
        await follow_by_stream_and_live_session(door)

    assert len(answered) == 2
    assert min(answered.values()) > TURNS


async def hold_a_conversation(door: Door) -> None:
    async with door.client() as session:
        room = f"{ROOMS}/c-1"
        await sent(session, "POST", ROOMS, 201, json={"id": "c-1", "participants": [ADA, ZOE]})
        for number in range(TURNS):
            said = {"author": {"kind": "person", "id": "zoe"}, "text": f"turn {number}"}
            key = {"Idempotency-Key": f"turn-{number}"}
            first, _ = await sent(session, "POST", f"{room}/messages", 201, json=said, headers=key)
            again, _ = await sent(session, "POST", f"{room}/messages", 201, json=said, headers=key)
            assert (again["repeated"], again["version"]) == (True, first["version"])
            seen = {"X-Swarm-Version": first["version"]}
            state, headers = await sent(session, "GET", room, 200, headers=seen)
            assert headers["X-Swarm-Freshness"] == "fresh"
            assert state["messages"][-1]["text"] == f"turn {number}"
        page, _ = await sent(session, "GET", f"{room}/messages?limit=200", 200)
        events, _ = await sent(session, "GET", f"{room}/events?limit=1000", 200)
        await sent(session, "PATCH", f"{room}/config", 200, json={"goal": "Ship it"})
        await sent(session, "DELETE", room, 204)
        await sent(session, "GET", room, 404)

        assert [one["text"] for one in page["messages"]] == [
            f"turn {number}" for number in reversed(range(TURNS))
        ]
        seqs = [one["seq"] for one in events["events"]]
        assert seqs == list(range(1, len(seqs) + 1))


async def edit_a_config(door: Door) -> None:
    async with door.client() as session:
        key = {"Idempotency-Key": "make-ada"}
        made = [
            (await sent(session, "POST", BOTS, 201, json={"name": "Ada"}, headers=key))[0]
            for _ in range(4)
        ]
        bot = f"{BOTS}/{made[0]['id']}"
        for version in range(1, 9):
            etag = {"If-Match": f'"{version}"'}
            body = {"role": f"role {version}"}
            changed, headers = await sent(session, "PATCH", bot, 200, json=body, headers=etag)
            assert (changed["version"], headers["ETag"]) == (version + 1, f'"{version + 1}"')
            await sent(session, "PATCH", bot, 412, json=body, headers=etag)
        history, _ = await sent(session, "GET", f"{bot}/history", 200)

    assert len({one["id"] for one in made}) == 1
    assert [one["version"] for one in history["versions"]] == list(range(9, 0, -1))


async def follow_by_stream_and_live_session(door: Door) -> None:
    async with door.client() as session:
        await sent(session, "POST", ROOMS, 201, json={"id": "c-2", "participants": [ADA, ZOE]})
        async with (
            session.ws_connect("/ws/live?conversation_id=c-2&after=0") as live,
            session.get(f"{ROOMS}/c-2/stream?after=0") as stream,
        ):
            for number in range(6):
                said = {"author": {"kind": "person", "id": "zoe"}, "text": f"turn {number}"}
                await sent(session, "POST", f"{ROOMS}/c-2/messages", 201, json=said)
            heard: list[str] = []
            while len(heard) < 6:
                frame = await live.receive_json()
                if frame["type"] == "event" and frame["event"]["type"] == "message_added":
                    heard.append(frame["event"]["data"]["message"]["text"])
            streamed: list[str] = []
            while len(streamed) < 6:
                streamed += re.findall(
                    r'"text":"(turn \d)"', (await stream.content.readline()).decode()
                )

    assert heard == streamed == [f"turn {number}" for number in range(6)]


async def test_of_a_hundred_edits_of_one_version_one_wins_each_round(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, redis_url, tmp_path) as door, door.client() as session:
        await sent(session, "POST", BOTS, 201, json={"id": "ada", "name": "Ada"})

        async def edit(version: int, number: int) -> int:
            etag, body = {"If-Match": f'"{version}"'}, {"persona": f"{version}.{number}"}
            async with session.patch(f"{BOTS}/ada", json=body, headers=etag) as answer:
                if answer.status == 200:
                    won.append((await answer.json())["persona"])
                return answer.status

        won: list[str] = []
        for version in range(1, 6):
            statuses = Counter(await asyncio.gather(*(edit(version, n) for n in range(100))))
            assert statuses == {200: 1, 412: 99}
        history, _ = await sent(session, "GET", f"{BOTS}/ada/history", 200)
        answered = door.answered_by()

    assert [one["version"] for one in history["versions"]] == [6, 5, 4, 3, 2, 1]
    assert [one["persona"] for one in history["versions"]] == [*reversed(won), ""]
    assert min(answered.values()) > 200


async def test_two_clients_who_edit_one_config_lose_no_update_unless_they_are_told(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """One adds to what it has read, under If-Match; the other sets a field of its own, without."""
    room, times = f"{ROOMS}/c-1", 15
    async with opened(database_url, redis_url, tmp_path) as door, door.client() as session:
        await sent(session, "POST", ROOMS, 201, json={"id": "c-1"})
        refused = 0

        async def add_one() -> None:
            nonlocal refused
            while True:
                state, headers = await sent(session, "GET", room, 200)
                body = {
                    "limits": {"tool_calls": state["config"]["limits"].get("tool_calls", 0) + 1}
                }
                etag = {"If-Match": headers["ETag"]}
                async with session.patch(f"{room}/config", json=body, headers=etag) as answer:
                    if answer.status == 200:
                        return
                    assert answer.status == 412
                    refused += 1

        async def careful() -> None:
            for _ in range(times):
                await add_one()

        async def careless() -> None:
            while not both.done():
                goals.append(f"goal {len(goals)}")
                await sent(session, "PATCH", f"{room}/config", 200, json={"goal": goals[-1]})

        goals: list[str] = []
        both = asyncio.gather(careful(), careful())
        await asyncio.gather(both, careless())
        state, _ = await sent(session, "GET", room, 200)
        events, _ = await sent(session, "GET", f"{room}/events?limit=1000", 200)
        answered = door.answered_by()

    assert state["config"]["limits"]["tool_calls"] == 2 * times
    assert state["config"]["goal"] == goals[-1]
    edits = [one for one in events["events"] if one["type"] == "config_changed"]
    assert len(edits) == 2 * times + len(goals), "each edit that was taken is in the log, once"
    assert refused > 0
    assert len(answered) == 2


async def test_a_rate_counts_what_either_server_answered(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    rates = {
        "SWARMSTATE_API_RATE_LIMITS": "on",
        "SWARMSTATE_API_RATE_USER": "10/1h",
        "SWARMSTATE_API_RATE_ADDRESS": "15/1h",
    }
    async with opened(database_url, redis_url, tmp_path, **rates) as door:
        statuses: list[int] = []
        for subject in ("zoe", "yan"):
            async with door.client(bearer(subject)) as session:
                for _ in range(12):
                    # What a client says of its own address is overwritten by nginx.
                    forged = {"X-Forwarded-For": f"10.0.0.{len(statuses)}"}
                    async with session.get(ROOMS, headers=forged) as answer:
                        statuses.append(answer.status)
        answered = door.answered_by()

    # The address counts what the user's rate refused, too.
    assert statuses == [200] * 10 + [429] * 2 + [200] * 3 + [429] * 9
    assert len(answered) == 2


async def test_who_logs_out_through_either_server_is_out_on_both_and_stays_out(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    rates = {"SWARMSTATE_API_RATE_LIMITS": "off"}
    async with opened(database_url, redis_url, tmp_path, **rates) as door:
        servers = [f"http://127.0.0.1:{server.port}" for server in door.cluster.servers]
        gone: list[dict[str, str]] = []
        refused: Counter[str] = Counter()
        async with door.client({}) as session:
            await sent(session, "POST", "/api/v1/auth/register", 201, json=PERSON)
            for _ in range(LOGOUTS):
                # Three requests a round: the logouts go to the servers in turn.
                found, _ = await sent(session, "POST", "/api/v1/auth/login", 200, json=PERSON)
                shown = {"Authorization": f"Bearer {found['access_token']}"}
                for server in servers:
                    await sent(session, "GET", f"{server}{PROFILE}", 200, headers=shown)
                await sent(session, "GET", PROFILE, 200, headers=shown)
                await sent(session, "POST", "/api/v1/auth/logout", 204, headers=shown)
                for server in servers:
                    await refused_on(session, server, shown)
                    refused[server] += 1
                gone.append(shown)
            with Redis.from_url(redis_url) as redis:
                redis.flushdb()
            for shown in gone:
                for server in servers:
                    await sent(session, "GET", f"{server}{PROFILE}", 401, headers=shown)
                    refused[server] += 1
        answered = door.answered_by()

    assert refused == dict.fromkeys(servers, 2 * LOGOUTS), "at once, and without Redis's help"
    assert len(answered) == 2


async def refused_on(session: aiohttp.ClientSession, server: str, shown: dict[str, str]) -> None:
    """Ask a server until it refuses; `make bench` measures after how long it does."""

    async def refused() -> bool:
        async with session.get(f"{server}{PROFILE}", headers=shown) as answer:
            return answer.status == 401

    await eventually(refused, within_s=30, what="the token is refused")


async def test_one_server_may_die_and_the_door_stays_open(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with opened(database_url, redis_url, tmp_path) as door, door.client() as session:
        await sent(session, "POST", ROOMS, 201, json={"id": "c-1", "participants": [ADA, ZOE]})
        owner = await door.cluster.busiest()
        assert owner is not None
        owner.kill()
        said = {"author": {"kind": "person", "id": "zoe"}, "text": "still here"}
        while True:
            key = {"Idempotency-Key": "k-1"}
            async with session.post(f"{ROOMS}/c-1/messages", json=said, headers=key) as answer:
                if answer.status == 201:
                    break
                assert answer.status == 503
            await asyncio.sleep(0.1)
        page, _ = await sent(session, "GET", f"{ROOMS}/c-1/messages", 200)

    assert [one["text"] for one in page["messages"]] == ["still here"]
