"""The Python client against two servers: one history through both, whichever answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from swarmstate_client import Client, Conflict, Invalid, NotAnswered, NotFound, PreconditionFailed

from src.api.auth.principals import Role
from tests.support.api import RunningServer, running_server, token

_NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def pair(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_server(database_url, redis_url, rate_limits="off")
            )
            for _ in range(2)
        ]
        yield one, two


def client(*urls: str) -> Client:
    return Client(urls, token("root", Role.ADMIN), pause_s=0.01)


async def test_what_was_written_through_one_server_is_read_through_the_other(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with client(one.url, two.url) as swarm:
        await swarm.begin("c-1", participants=[{"id": "zoe", "kind": "person", "name": "Zoe"}])
        for number in range(6):
            swarm._next()  # As after a failure: each request goes to the other server.
            await swarm.say("c-1", f"turn {number}", author={"kind": "person", "id": "zoe"})
            swarm._next()
            state = await swarm.conversation("c-1")
            assert state["messages"][-1]["text"] == f"turn {number}"
        told = [message["text"] async for message in swarm.messages("c-1", page=2)]
    assert told == [f"turn {number}" for number in reversed(range(6))]


async def test_a_server_that_is_away_is_passed_over(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    async with client(_NOWHERE, pair[0].url) as swarm:
        await swarm.begin("c-1")
        events = swarm.stream("c-1", after=0)
        await swarm.command("c-1", "blackboard", set=[{"id": "venue", "value": "hall 3"}])
        async with asyncio.timeout(20):
            assert [(await anext(events))["seq"], (await anext(events))["seq"]] == [1, 2]
            later = asyncio.ensure_future(anext(swarm.stream("c-1")))
            while not later.done():
                await swarm.command("c-1", "blackboard", increment=[{"id": "n"}])
            assert later.result()["seq"] > 2


async def test_errors_say_what_a_server_said(pair: tuple[RunningServer, RunningServer]) -> None:
    async with client(pair[0].url) as swarm:
        await swarm.begin("c-1")
        with pytest.raises(Conflict):
            await swarm.begin("c-1")
        with pytest.raises(NotFound):
            await swarm.conversation("c-2")
        with pytest.raises(Invalid) as invalid:
            await swarm.say("c-1", "")
        await swarm.create("bots", {"id": "ada", "name": "Ada"})
        await swarm.patch("bots", "ada", {"goal": "listen"}, version=1)
        with pytest.raises(PreconditionFailed):
            await swarm.patch("bots", "ada", {"goal": "talk"}, version=1)
        assert [bot["id"] async for bot in swarm.configs("bots")] == ["ada"]
    assert invalid.value.errors[0]["field"] == "text"


async def test_a_retry_keeps_its_key_and_stops_after_the_last_attempt() -> None:
    keys = []

    async def busy(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return web.json_response({"code": "overloaded"}, status=503)
        return web.json_response({"id": "c-1", "version": "1.1"}, status=201)

    app = web.Application()
    app.router.add_post("/api/v1/conversations", busy)
    async with TestServer(app) as server, client(str(server.make_url("/"))) as swarm:
        await swarm.begin("c-1")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    async with client(_NOWHERE) as alone:
        with pytest.raises(NotAnswered):
            await alone.begin("c-1")
