"""The event stream: everything once and in order, resumed where it broke, ended when it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import httpx
import pytest

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from tests.integration.api.begun import ROOM, begin
from tests.support.api import SECRET, RunningServer, bearer, running_server
from tests.support.cluster_settings import eventually

Events = AsyncIterator[tuple[int, str, dict[str, Any]]]


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **params: Any
) -> AsyncIterator[Events]:
    """Connect, and give (id, event, data) until the stream ends; comments are passed over."""
    async with (
        asyncio.timeout(20),
        client.stream("GET", f"{ROOM}/stream", params=params, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == ": keep-alive"
        yield _events(lines)


async def _events(lines: AsyncIterator[str]) -> Events:
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


async def _take(events: Events, count: int) -> list[tuple[int, str, dict[str, Any]]]:
    return [await anext(events) for _ in range(count)]


async def test_what_is_logged_on_either_server_arrives_in_order(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        async with following(there) as events:
            for number, client in enumerate((here, there) * 5):
                await client.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
            got = await _take(events, 10)

    assert [seq for seq, _, _ in got] == list(range(2, 12))
    assert {kind for _, kind, _ in got} == {"message_added"}
    texts = [data["data"]["message"]["text"] for _, _, data in got]
    assert texts == [f"turn {number}" for number in range(10)]


async def test_a_broken_stream_goes_on_after_the_last_event(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        for number in range(4):
            await zoe.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
        async with following(zoe, after=0) as events:
            first = await _take(events, 3)
        resumed = {"Last-Event-ID": str(first[-1][0])}
        async with following(zoe, resumed, after=0) as events:
            rest = await _take(events, 2)

    assert [seq for seq, _, _ in first + rest] == [1, 2, 3, 4, 5]


@pytest.mark.directly("its server has settings of its own")
async def test_silence_is_kept_alive_by_comments(database_url: str, redis_url: str) -> None:
    quick = timedelta(milliseconds=20)
    async with (
        running_server(database_url, redis_url, keep_alive=quick) as server,
        server.as_("zoe") as zoe,
    ):
        await begin(zoe)
        async with asyncio.timeout(20), zoe.stream("GET", f"{ROOM}/stream") as answer:
            lines = answer.aiter_lines()
            comments = [await anext(lines) for _ in range(6)]

    assert comments == [": keep-alive", ""] * 3


async def test_the_stream_ends_with_membership(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root, server.as_("yan") as yan:
        await begin(root)
        async with following(yan) as events:
            await root.post(f"{ROOM}/messages", json={"text": "a"})
            await root.post(f"{ROOM}/commands", json={"type": "remove_participant", "id": "p-2"})
            await root.post(f"{ROOM}/messages", json={"text": "secret"})
            got = [kind async for _, kind, _ in events]

    assert got == ["message_added"]


async def test_the_stream_ends_with_the_conversation(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        async with following(zoe) as events:
            await zoe.delete(ROOM)
            got = [kind async for _, kind, _ in events]

    assert got == ["deleted"]


async def test_the_stream_ends_with_the_token(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
    token = issue_token(SECRET, "zoe", [Role.MEMBER], lifetime=timedelta(seconds=2))
    async with (
        httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=20
        ) as brief,
        following(brief) as events,
    ):
        assert [kind async for _, kind, _ in events] == []


@pytest.mark.directly("its server drains")
async def test_a_draining_server_ends_its_streams_and_takes_no_new_ones(
    alone: RunningServer,
) -> None:
    async with alone.as_("zoe") as zoe:
        await begin(zoe)
        async with following(zoe) as events:
            alone.app.drain.begin()
            assert [kind async for _, kind, _ in events] == []
        refused = await zoe.get(f"{ROOM}/stream")
        ready = await zoe.get("/health/ready")

    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")


@pytest.mark.directly("a server counts its own streams")
async def test_nobody_is_followed_after_the_client_went_away(alone: RunningServer) -> None:
    async with alone.as_("zoe") as zoe:
        await begin(zoe)
        async with following(zoe):
            assert alone.app.state.traffic.streams == 1
        async with asyncio.timeout(10):
            while True:
                if alone.app.state.traffic.streams == 0:
                    break
                await asyncio.sleep(0.01)


@pytest.mark.directly("its server has settings of its own")
async def test_one_more_than_a_caller_may_have_open_is_refused_by_name(
    database_url: str, redis_url: str
) -> None:
    async with (
        running_server(database_url, redis_url, streams_per_caller=2) as server,
        server.as_("zoe") as zoe,
        server.as_("yan") as yan,
        aiohttp.ClientSession(headers=bearer("zoe")) as http,
    ):
        await begin(zoe)
        live = f"{server.url}/ws/live?conversation_id=c-1"
        async with following(zoe), http.ws_connect(live):
            answer = await zoe.get(f"{ROOM}/stream")
            with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
                await http.ws_connect(live)
            async with following(yan):
                traffic = server.app.state.traffic
                assert (traffic.streams, traffic.live_sessions) == (2, 1)
        await eventually(lambda: traffic.streams + traffic.live_sessions == 0)
        async with following(zoe):
            metrics = await yan.get("/metrics", headers=bearer("op", Role.VIEWER))

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
    assert "SWARMSTATE_API_STREAMS_PER_CALLER" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"
    assert (denied.value.status, traffic.streams_refused) == (429, 2)
    assert "swarmstate_event_streams_refused_total 2.0" in metrics.text
