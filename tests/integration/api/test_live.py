"""Live sessions: people and bots in one conversation over WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer, bearer, token

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def session(
    server: RunningServer, subject: str = "zoe", path: str = "/ws/live", **options: Any
) -> AsyncIterator[Socket]:
    """Open a live session and take its `ready` frame."""
    options.setdefault("headers", bearer(subject))
    params = {"conversation_id": "c-1", **options.pop("params", {})}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{server.url}{path}", params=params, **options) as socket,
    ):
        ready = await socket.receive_json()
        assert ready["type"] == "ready"
        yield socket


async def frame(socket: Socket, kind: str) -> Any:
    """Return the next frame of this type."""
    while True:
        received = await socket.receive_json()
        if received["type"] == kind:
            return received


async def begun(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        await begin(root)


async def test_what_one_says_the_others_hear_on_either_server(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    await begun(one)
    async with session(one, "zoe") as zoe, session(two, "yan") as yan:
        await zoe.send_json({"type": "say", "text": "hello", "ref": "1"})
        ack = await frame(zoe, "ack")
        heard = await frame(yan, "event")
        await yan.send_json({"type": "say", "text": "hello too"})
        answer = await frame(yan, "event")
        while (back := await frame(zoe, "event")) != answer:
            assert back == heard

    assert ack["ref"] == "1"
    assert ack["durability"] == "logged"
    message = heard["event"]["data"]["message"]
    assert (message["id"], message["text"]) == (ack["id"], "hello")
    assert message["author"] == {"kind": "person", "id": "zoe", "name": "Zoe"}
    assert answer["event"]["data"]["message"]["text"] == "hello too"


async def test_a_bot_answers_in_the_session(server: RunningServer) -> None:
    options = {"llm": {"rules": [{"when": "hello", "say": "Hello {speaker}."}]}}
    bot = {
        "id": "ada",
        "name": "Ada",
        "providers": {"llm": "offline/rules", "options": options},
    }
    async with server.as_("root", Role.ADMIN) as root:
        made = await root.post("/api/v1/bots", json=bot)
        assert made.status_code == 201, made.text
        await begin(root, config={"responder": {"default_bot": "ada"}})
    async with session(server) as zoe:
        await zoe.send_json(
            {"type": "command", "command": {"type": "lifecycle", "action": "start"}}
        )
        await zoe.send_json({"type": "say", "text": "hello"})
        said: list[Any] = []
        while len(said) < 2:
            data = (await frame(zoe, "event"))["event"]["data"]
            said += [data["message"]] if data["type"] == "message_added" else []

    assert [one["author"]["id"] for one in said] == ["zoe", "ada"]
    assert said[1]["text"] == "Hello Zoe."


async def test_a_wrong_frame_is_named_and_the_session_goes_on(server: RunningServer) -> None:
    await begun(server)
    wrong: list[tuple[str | bytes, str]] = [
        ("{", "body"),
        ("[]", "body"),
        (b"\x00\x01", "body"),
        ('{"type": "say"}', "text"),
        ('{"type": "say", "text": 7}', "text"),
        ('{"type": "say", "text": "a\\u0000"}', "text"),
        ('{"type": "say", "text": "a", "colour": 1}', "colour"),
        ('{"type": "say", "text": "a", "key": "a b"}', "key"),
        ('{"type": "say", "text": "a", "ref": 7}', "ref"),
        ('{"type": "sing"}', "type"),
        ("{}", "type"),
        ('{"type": "ping", "colour": 1}', "colour"),
        ('{"type": "command", "command": {"type": "pass_baton", "to": 7}}', "to"),
        ('{"type": "command"}', "body"),
    ]
    async with session(server) as zoe:
        named = []
        for content, _ in wrong:
            if isinstance(content, bytes):
                await zoe.send_bytes(content)
            else:
                await zoe.send_str(content)
            error = await frame(zoe, "error")
            assert error["problem"]["status"] == 422, error
            named.append(error["problem"].get("errors", [{"field": "body"}])[0]["field"])
        await zoe.send_json({"type": "ping", "ref": "p"})
        pong = await frame(zoe, "pong")
    async with server.as_("zoe") as client:
        state = (await client.get(ROOM)).json()

    assert named == [field for _, field in wrong]
    assert pong == {"type": "pong", "ref": "p"}
    assert state["version"]["seq"] == 1


async def test_what_is_not_allowed_is_an_error_frame(server: RunningServer) -> None:
    await begun(server)
    async with session(server) as zoe:
        author = {"kind": "bot", "id": "ada"}
        await zoe.send_json({"type": "say", "text": "a", "author": author, "ref": "1"})
        forged = await frame(zoe, "error")
        await zoe.send_json({"type": "command", "command": {"type": "delete"}, "ref": "2"})
        deleted = await frame(zoe, "error")

    assert (forged["ref"], forged["problem"]["status"]) == ("1", 403)
    assert (deleted["ref"], deleted["problem"]["status"]) == ("2", 403)


async def test_a_repeated_key_is_acked_again_and_added_once(server: RunningServer) -> None:
    await begun(server)
    async with session(server) as zoe:
        for _ in range(2):
            await zoe.send_json({"type": "say", "text": "once", "key": "k-1"})
        acks = [await frame(zoe, "ack") for _ in range(2)]
    async with server.as_("zoe") as client:
        page = (await client.get(f"{ROOM}/messages")).json()["messages"]

    assert [ack.get("repeated", False) for ack in acks] == [False, True]
    assert acks[0]["id"] == acks[1]["id"]
    assert len(page) == 1


async def test_a_session_goes_on_after_the_last_event_it_has_seen(server: RunningServer) -> None:
    await begun(server)
    async with server.as_("zoe") as client:
        for number in range(3):
            await client.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
    async with session(server, params={"after": 2}) as zoe:
        seen = [(await frame(zoe, "event"))["event"]["seq"] for _ in range(2)]

    assert seen == [3, 4]


@pytest.mark.parametrize("path", ["/ws/live", "/api/v1/ws/live"])
@pytest.mark.parametrize("way", ["header", "query", "subprotocol"])
async def test_a_token_comes_in_three_ways(server: RunningServer, path: str, way: str) -> None:
    await begun(server)
    good = token("zoe")
    ways: dict[str, dict[str, Any]] = {
        "header": {},
        "query": {"headers": {}, "params": {"token": good}},
        "subprotocol": {"headers": {}, "protocols": ("swarmstate", good)},
    }
    async with session(server, path=path, **ways[way]) as zoe:
        assert zoe.protocol == ("swarmstate" if way == "subprotocol" else None)


@pytest.mark.parametrize(
    ("subject", "params", "status"),
    [
        (None, {"conversation_id": "c-1"}, 401),
        ("eve", {"conversation_id": "c-1"}, 403),
        ("zoe", {"conversation_id": "none"}, 404),
        ("zoe", {"conversation_id": "a b"}, 422),
        ("zoe", {}, 422),
    ],
)
async def test_the_door_refuses_with_the_status_of_a_request(
    server: RunningServer, subject: str | None, params: dict[str, str], status: int
) -> None:
    await begun(server)
    headers = bearer(subject) if subject else {}
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{server.url}/ws/live", params=params, headers=headers)

    assert refused.value.status == status


@pytest.mark.directly("its server drains")
async def test_a_draining_server_says_goodbye(alone: RunningServer) -> None:
    await begun(alone)
    async with session(alone) as zoe:
        alone.app.drain.begin()
        async for _ in zoe:
            pass

    assert zoe.close_code == 1001


async def test_a_removed_member_is_shown_out(server: RunningServer) -> None:
    await begun(server)
    async with session(server, "yan") as yan, server.as_("root", Role.ADMIN) as root:
        await root.post(f"{ROOM}/commands", json={"type": "remove_participant", "id": "p-2"})
        async for _ in yan:
            pass

    assert yan.close_code == 1008
