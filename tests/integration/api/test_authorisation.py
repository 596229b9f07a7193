"""The authorisation matrix: every route of the application for every kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import aiohttp
import httpx
import pytest

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.api.lifespan import internal_secret
from src.api.telephony import twilio
from src.swarm.internal_tokens import InternalTokens
from tests.integration.api.begun import ROOM, begin
from tests.support import permissions
from tests.support.api import SECRET, RunningServer, running_server, token
from tests.support.livekit import settings_for, signature
from tests.support.media import MemoryMedia
from tests.support.permissions import (
    CALL,
    MAKERS,
    NOBODY_KNOWN,
    OWN_ROOM,
    RULES,
    Clients,
    Rule,
    Who,
)

TWILIOS = "x-twilio-signature"
LOGOUT = "/api/v1/auth/logout"
"""It makes the token of `Who.REVOKED`."""
TURN = {"conversation_id": "c-1", "user_message": "a", "assistant_message": "b"}
BATON = {"type": "pass_baton", "to": None}
TOKENS = {
    Who.VIEWER: token("some-viewer", Role.VIEWER),
    Who.OWN: token("carl"),
    Who.OTHER: token("eve"),
    Who.EDITOR: token("some-editor", Role.EDITOR),
    Who.ADMIN: token("root", Role.ADMIN),
    Who.SERVICE: token("worker", Role.SERVICE),
    Who.EXPIRED: issue_token(SECRET, "root", [Role.ADMIN], lifetime=timedelta(seconds=-1)),
    Who.REVOKED: token("gone", Role.ADMIN),
    Who.INTERNAL: InternalTokens(internal_secret(SECRET)).sign(),
}
ROOMS = settings_for("ws://127.0.0.1:1")
PHONES = "wss://voice.example.com"


@pytest.mark.directly("nginx shuts the routes between servers to all")
async def test_every_route_lets_in_whom_its_rule_names_and_nobody_else(
    database_url: str, redis_url: str
) -> None:
    wrong = []
    media = MemoryMedia()
    async with (
        running_server(
            database_url,
            redis_url,
            state={"blobs_url": "memory://"},
            livekit=ROOMS,
            media=media,
            rate_limits="off",
            twilio_secret=SECRET,
            twilio_url=PHONES,
        ) as server,
        callers(server) as clients,
    ):
        own = {"id": OWN_ROOM, "participants": [{"id": "zoe", "kind": "person", "name": "Zoe"}]}
        assert (await clients[Who.OWN].post("/api/v1/conversations", json=own)).is_success
        room = {"id": CALL, "conversation_id": OWN_ROOM}
        assert (await clients[Who.OWN].post("/api/v1/rooms", json=room)).is_success
        for route, rule in RULES.items():
            shared = await path_of(route, clients)
            for who in clients:
                method, fresh = route.split()[0], shared
                if who in rule.may and method not in ("GET", "HEAD", "WS"):
                    # It may be changed or gone afterwards.
                    fresh = await path_of(route, clients)
                status = await status_of(clients[who], method, fresh, rule)
                if not is_right(status, who, rule):
                    wrong.append(f"{route} for {who}: {status}")

    assert wrong == []


@asynccontextmanager
async def callers(server: RunningServer) -> AsyncIterator[Clients]:
    """Give a client for each caller."""
    async with AsyncExitStack() as stack:
        clients = {}
        for who in Who:
            headers = {"Authorization": f"Bearer {TOKENS[who]}"} if who in TOKENS else {}
            if who is Who.LIVEKIT:
                headers = {"Authorization": signature(b"{}")}
            if who is Who.TWILIO:
                # Made for each address when it is known.
                headers = {TWILIOS: ""}
            hooks = {"request": [sign_as_server] if who is Who.INTERNAL else []}
            clients[who] = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=server.url, headers=headers, timeout=20, event_hooks=hooks
                )
            )
        assert (await clients[Who.REVOKED].post(LOGOUT)).is_success
        yield clients


async def sign_as_server(request: httpx.Request) -> None:
    """Sign anew: a server's token is good for a minute, and the matrix may take longer."""
    signed = InternalTokens(internal_secret(SECRET)).sign()
    request.headers["Authorization"] = f"Bearer {signed}"


async def path_of(route: str, clients: Clients) -> str:
    """Fill in the parameters of a route's path with things that exist."""
    path = route.split()[1]
    if "{" not in path:
        return path
    beginnings = [one for one in MAKERS if path.startswith(one)]
    assert beginnings, f"add to MAKERS of {permissions.__file__} who makes what {path} names"
    longest = max(beginnings, key=len)
    filled = await MAKERS[longest](clients) + path.removeprefix(longest)
    assert "{" not in filled, f"MAKERS of {permissions.__file__} know no whole {path}"
    return filled


async def status_of(client: httpx.AsyncClient, method: str, path: str, rule: Rule) -> int:
    if method == "WS":
        return await status_of_session(client, path, rule)
    raw = isinstance(rule.body, bytes)
    request = client.build_request(
        method,
        path,
        params=rule.query,
        headers=rule.headers,
        content=rule.body if raw else None,
        json=None if raw else rule.body,
    )
    # Only the head of the answer: a stream has no end.
    answer = await client.send(request, stream=True)
    await answer.aclose()
    return answer.status_code


async def status_of_session(client: httpx.AsyncClient, path: str, rule: Rule) -> int:
    headers = {name: client.headers[name] for name in ("authorization",) if name in client.headers}
    if TWILIOS in client.headers:
        headers[TWILIOS] = twilio.signature(SECRET, PHONES + path)
    async with aiohttp.ClientSession() as http:
        url = str(client.base_url.join(path))
        try:
            async with http.ws_connect(url, params=rule.query, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status


def is_right(status: int, who: Who, rule: Rule) -> bool:
    if who in rule.may:
        return status < 400 or status in rule.also
    signed = (permissions.SERVERS, permissions.SIGNED, permissions.PHONES)
    known = who not in NOBODY_KNOWN and rule.may not in signed
    return status == (403 if known else 401)


async def test_members_of_a_conversation_use_it_and_the_creator_configures_it(
    server: RunningServer,
) -> None:
    statuses: dict[str, list[int]] = {}
    async with server.as_("carl") as carl:
        await begin(carl)
    for name in ("carl", "zoe", "yan", "eve"):
        async with server.as_(name) as client:
            statuses[name] = [
                answer.status_code
                for answer in (
                    await client.get(ROOM),
                    await client.get(f"{ROOM}/messages"),
                    await client.get(f"{ROOM}/sessions"),
                    await client.post(f"{ROOM}/messages", json={"text": "a"}),
                    await client.post("/api/v1/conversations/save-turn", json=TURN),
                    await client.post(f"{ROOM}/commands", json=BATON),
                    await client.post(f"{ROOM}/commands", json={"type": "count", "credits": 1}),
                    await client.patch(f"{ROOM}/config", json={"goal": name}),
                )
            ]

    assert statuses == {
        "carl": [200, 200, 200, 201, 200, 200, 403, 200],
        "zoe": [200, 200, 200, 201, 200, 200, 403, 403],
        "yan": [200, 200, 200, 201, 200, 200, 403, 403],
        "eve": [403, 403, 403, 403, 403, 403, 403, 403],
    }


async def test_a_member_renames_itself_and_the_creator_anybody(server: RunningServer) -> None:
    renamed = {"carl": [200, 200, 200], "zoe": [200, 403, 403], "eve": [403, 403, 403]}
    statuses: dict[str, list[int]] = {}
    async with server.as_("carl") as carl:
        await begin(carl)
        for name in renamed:
            async with server.as_(name) as client:
                statuses[name] = [
                    (
                        await client.post(
                            f"{ROOM}/commands",
                            json={"type": "update_participant", "id": id, "name": f"by {name}"},
                        )
                    ).status_code
                    for id in ("zoe", "p-2", "ada")
                ]
        state = (await carl.get(ROOM)).json()

    assert statuses == renamed
    assert [one["name"] for one in state["participants"]] == ["by zoe", "by carl", "by carl"]
