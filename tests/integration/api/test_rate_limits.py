"""Rate limits on real servers: one count for all of them, and whose a request is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from redis.asyncio import Redis

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer, bearer, running_server
from tests.support.cluster_settings import eventually
from tests.support.embedding import query

pytestmark = pytest.mark.directly("its server has settings of its own")


LIST = "/api/v1/conversations"


@asynccontextmanager
async def limited(
    database_url: str, redis_url: str, count: int = 1, **settings: Any
) -> AsyncIterator[list[RunningServer]]:
    """Servers that count; a window of an hour does not end while a test runs."""
    rates = {"rate_user": "5/1h", "rate_address": "100/1h", "rate_limits": "on", **settings}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_server(database_url, redis_url, **rates))
            for _ in range(count)
        ]


async def test_one_count_serves_both_servers_and_says_when_to_come_back(
    database_url: str, redis_url: str
) -> None:
    async with limited(database_url, redis_url, 2) as (one, two):
        async with httpx.AsyncClient(headers=bearer("zoe"), timeout=20) as zoe:
            answers = [await zoe.get(server.url + LIST) for server in (one, two) * 4]
        async with one.as_("yan") as yan, one.as_("worker", Role.SERVICE) as worker:
            other = await yan.get(LIST)
            working = [(await worker.get(LIST)).status_code for _ in range(8)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert [answer.headers["ratelimit"].split(";")[:2] for answer in answers[:3]] == [
        ['"user"', f"r={left}"] for left in (4, 3, 2)
    ]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) == refused.json()["retry_after"] > 60
    assert refused.headers["ratelimit-policy"] == '"user";q=5;w=3600'
    assert other.status_code == 200
    assert working == [200] * 8


async def test_bad_tokens_and_live_sessions_count_too(database_url: str, redis_url: str) -> None:
    async with limited(database_url, redis_url, rate_address="3/1h", rate_user="1/1h") as (one,):
        async with one.as_("root", Role.ADMIN) as root:
            await begin(root)
        async with httpx.AsyncClient(base_url=one.url) as nobody:
            guesses = [
                (await nobody.get(LIST, headers={"Authorization": f"Bearer {n}"})).status_code
                for n in range(4)
            ]
        live = []
        async with aiohttp.ClientSession(headers=bearer("zoe")) as http:
            for _ in range(2):
                try:
                    async with http.ws_connect(f"{one.url}/ws/live?conversation_id=c-1"):
                        live.append(101)
                except aiohttp.WSServerHandshakeError as error:
                    live.append(error.status)

    assert guesses == [401, 401, 401, 429]
    assert live == [429, 429], "the address has used up its own"


async def test_guessed_keys_are_counted_before_anybody_looks_them_up(
    database_url: str, redis_url: str
) -> None:
    async with (
        limited(database_url, redis_url, rate_address="3/1h") as (one,),
        httpx.AsyncClient(base_url=one.url) as nobody,
    ):
        guesses = [
            (await nobody.get(LIST, headers={"Authorization": f"Bearer ssk_{n}"})).status_code
            for n in range(3)
        ]
        # Whoever looks one up from now on fails.
        query(database_url, "ALTER TABLE api_keys RENAME TO hidden", "SELECT 1")
        late = await nobody.get(LIST, headers={"Authorization": "Bearer ssk_late"})

    assert guesses == [401, 401, 401]
    assert (late.status_code, late.json()["code"]) == (429, "rate_limited")


async def test_beginning_and_deleting_have_rates_of_their_own(
    database_url: str, redis_url: str
) -> None:
    rates: dict[str, Any] = {
        "rate_user": "100/1h",
        "rate_begin": "3/1h",
        "rate_delete": "1/1h",
    }
    async with limited(database_url, redis_url, **rates) as (one,), one.as_("zoe") as zoe:
        begun = [await zoe.post(LIST, json={"id": f"c-{n}"}) for n in range(4)]
        deleted = [await zoe.delete(f"{LIST}/c-{n}") for n in range(2)]

    assert [answer.status_code for answer in begun] == [201, 201, 201, 429]
    assert [answer.status_code for answer in deleted] == [204, 429]


async def test_a_deletion_counts_as_one_by_whichever_way_it_comes(
    database_url: str, redis_url: str
) -> None:
    rates: dict[str, Any] = {"rate_user": "100/1h", "rate_delete": "2/1h"}
    deletion = {"type": "delete"}
    async with limited(database_url, redis_url, **rates) as (one,), one.as_("zoe") as zoe:
        for n in range(4):
            assert (await zoe.post(LIST, json={"id": f"c-{n}"})).status_code == 201
        plain = await zoe.delete(f"{LIST}/c-0")
        commands = [await zoe.post(f"{LIST}/c-{n}/commands", json=deletion) for n in (1, 2)]
        live = f"{one.url}/ws/live?conversation_id=c-3"
        async with (
            aiohttp.ClientSession(headers=bearer("zoe")) as http,
            http.ws_connect(live) as socket,
            asyncio.timeout(20),
        ):
            await socket.send_json({"type": "command", "command": deletion})
            while (frame := await socket.receive_json())["type"] == "ready":
                pass
        left = [(await zoe.get(f"{LIST}/c-{n}")).status_code for n in range(4)]

    assert plain.status_code == 204
    assert [answer.status_code for answer in commands] == [200, 429]
    assert frame["type"] == "error"
    assert "`delete` is 2 in 3600 s" in frame["problem"]["detail"]
    assert frame["problem"]["retry_after"] > 60
    assert left == [404, 404, 200, 200]


async def test_what_is_said_in_a_live_session_counts_as_a_request_does(
    database_url: str, redis_url: str
) -> None:
    async with limited(database_url, redis_url, rate_user="4/1h") as (one,), one.as_("zoe") as zoe:
        assert (await zoe.post(LIST, json={"id": "c-1"})).status_code == 201
        member = {"id": "zoe", "kind": "person", "name": "Zoe", "user_id": "zoe"}
        joining = {"type": "add_participant", "participant": member}
        frames: list[dict[str, Any]] = [
            {"type": "command", "command": joining, "ref": "0"},
            {"type": "say", "text": "hello", "ref": "1"},
            {"type": "say", "text": "hello again", "ref": "2"},
            {"type": "ping", "ref": "3"},
        ]
        answers: dict[str, str] = {}
        async with (
            aiohttp.ClientSession(headers=bearer("zoe")) as http,
            http.ws_connect(f"{one.url}/ws/live?conversation_id=c-1") as socket,
            asyncio.timeout(20),
        ):
            for frame in frames:
                await socket.send_json(frame)
            while len(answers) < len(frames):
                answer = await socket.receive_json()
                if "ref" in answer:
                    answers[answer["ref"]] = answer["type"]

    assert answers == {"0": "ack", "1": "ack", "2": "error", "3": "pong"}


@pytest.mark.parametrize(
    ("proxies", "statuses"),
    [(("127.0.0.1", "10.0.0.0/8"), [200, 200, 429, 200]), ((), [200, 200, 429, 429])],
)
async def test_a_client_is_believed_about_its_address_only_through_a_known_proxy(
    database_url: str, redis_url: str, proxies: tuple[str, ...], statuses: list[int]
) -> None:
    settings: dict[str, Any] = {"rate_address": "2/1h", "trusted_proxies": proxies}
    # The first address is what a client may write; the proxies add the two behind it.
    came_through = ["1.1.1.1, 198.51.100.7, 10.0.0.1"] * 2
    came_through += ["2.2.2.2, 198.51.100.7, 10.0.0.1", "1.1.1.1, 198.51.100.8, 10.0.0.1"]
    async with limited(database_url, redis_url, **settings) as (one,):
        answers = []
        for number, addresses in enumerate(came_through):
            async with one.as_(f"user-{number}") as user:
                answers.append(await user.get(LIST, headers={"X-Forwarded-For": addresses}))

    assert [answer.status_code for answer in answers] == statuses


async def scripts_run(redis: Redis) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


async def test_hot_reads_are_counted_without_asking_redis_for_each(
    database_url: str, redis_url: str
) -> None:
    rates: dict[str, Any] = {"rate_user": "400/1h", "rate_address": "1000/1h"}
    async with (
        limited(database_url, redis_url, 2, **rates) as (one, two),
        one.as_("carl") as carl,
        two.as_("carl") as elsewhere,
        Redis.from_url(redis_url) as redis,
    ):
        await begin(carl)
        assert (await carl.get(ROOM)).headers["ratelimit"].startswith('"user";r=398')
        before, hits = await scripts_run(redis), one.app.state.traffic.hot_hits
        answers = await asyncio.gather(*(carl.get(ROOM) for _ in range(300)))
        asked, answered = await scripts_run(redis) - before, one.app.state.traffic.hot_hits - hits

        async def is_told() -> bool:
            left = int((await redis.hget("ss-rate:user:carl", "n")) or 0)
            return left >= 302

        await eventually(is_told, 10, what="Redis counts the hot reads")
        after = [(await elsewhere.get(ROOM)).status_code for _ in range(98)]
        last = await elsewhere.get(ROOM)

    assert {answer.status_code for answer in answers} == {200}
    assert all("ratelimit" in answer.headers for answer in answers)
    # The rest came this way too, past a server that was too busy to hear who logged out.
    assert answered > 200
    assert asked < 300, "told in batches: one for each read and rate would be 600"
    assert set(after) == {200}
    assert last.status_code == 429


async def test_without_redis_servers_count_by_themselves_and_nothing_fails(
    database_url: str, redis_url: str, servers: Any
) -> None:
    async with (
        limited(database_url, redis_url) as (one,),
        one.as_("zoe") as zoe,
    ):
        await zoe.get(LIST)
        servers.kill_redis()
        answers = [(await zoe.get(LIST)).status_code for _ in range(6)]

    assert answers == [200] * 4 + [429] * 2
