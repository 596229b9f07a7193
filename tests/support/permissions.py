"""Who may use which route: one line for each, and a few for what its path or body needs.

The authorisation test asks the application for its routes: one that has no line here fails it, and
so does a line without a route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import httpx
import msgspec
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import WebSocketRoute

from src.api.ids import new_id
from src.swarm.forwarding import AskedFor, Given, encode_forwarded
from src.swarm.shapes.commands import PostMessage, Speaker


class Who(StrEnum):
    """A caller as the matrix knows it. `OWN` made, or takes part in, what is asked for."""

    NONE = "none"
    VIEWER = "viewer"
    OWN = "member-own"
    OTHER = "member-other"
    EDITOR = "editor"
    ADMIN = "admin"
    SERVICE = "service"
    EXPIRED = "expired"
    REVOKED = "revoked"
    INTERNAL = "internal"
    LIVEKIT = "livekit"
    """LiveKit itself, by its signature of the body `{}`."""
    TWILIO = "twilio"
    """Twilio itself, by its signature of the address."""


ANYBODY = frozenset(Who)
"""Open to all, whatever token they bring."""
NOBODY_KNOWN = frozenset(
    (Who.NONE, Who.EXPIRED, Who.REVOKED, Who.INTERNAL, Who.LIVEKIT, Who.TWILIO)
)
"""They get 401 where a token is needed; the others, without the right to it, 403."""
USERS = ANYBODY - NOBODY_KNOWN
FULL = frozenset((Who.ADMIN, Who.SERVICE))
ADMINS = frozenset((Who.ADMIN,))
OWNERS = FULL | {Who.OWN}
READERS = FULL | {Who.VIEWER}
OWN_READERS = READERS | {Who.OWN}
MEMBERS = FULL | {Who.OWN, Who.OTHER}
CONFIG_WRITERS = FULL | {Who.EDITOR}
CONFIG_READERS = CONFIG_WRITERS | {Who.VIEWER}
SERVERS = frozenset((Who.INTERNAL,))
SIGNED = frozenset((Who.LIVEKIT,))
PHONES = frozenset((Who.TWILIO,))


class Rule(NamedTuple):
    """Who gets through, with a request that is good; others get 401 or 403."""

    may: frozenset[Who]
    body: Any = None
    """JSON, or bytes to be sent as they are."""
    query: Mapping[str, str] | None = None
    also: tuple[int, ...] = ()
    """Statuses from 400 on that show too that the caller got through."""
    headers: Mapping[str, str] | None = None


OWN_ROOM = "c-own"
"""A conversation that `Who.OWN` created; it is there from the start and nothing deletes it."""
CALL = "r-own"
"""Its room on LiveKit, likewise."""
BOT: dict[str, Any] = {"name": "Ada"}
_ZOE = {"email": "zoe@example.org", "password": "correct horse battery"}
TEAM: dict[str, Any] = {"name": "Crew"}
ROUTINE: dict[str, Any] = {"name": "Lesson", "steps": [{"type": "wait", "seconds": 1}]}
SUBTOPIC: dict[str, Any] = {"topic": "fractions", "title": "Halves"}
SETTING: dict[str, Any] = {"id": "limits", "value": {"tool_calls": 9}}
RENAME: dict[str, Any] = {"name": "Another name"}
WEBHOOK: dict[str, Any] = {"url": "https://receiver.invalid/changes", "active": False}
_SAID = encode_forwarded(
    PostMessage(Speaker("person", "zoe"), "hello"),
    key="forwarded",
    actor="zoe",
    if_version=None,
    durability=None,
    create=False,
)
_AWAY = (404, 409, 421, 503)


def _configs(
    kind: str, body: dict[str, Any], change: dict[str, Any], also: tuple[int, ...] = ()
) -> dict[str, Rule]:
    """The routes that every kind of config has; `also` are further statuses of its POST."""
    many, one = f"/api/v1/{kind}", f"/api/v1/{kind}/{{config_id}}"
    return {
        f"GET {many}": Rule(CONFIG_READERS),
        f"POST {many}": Rule(CONFIG_WRITERS, body, also=also),
        f"GET {one}": Rule(CONFIG_READERS),
        f"PUT {one}": Rule(CONFIG_WRITERS, body),
        f"PATCH {one}": Rule(CONFIG_WRITERS, change),
        f"DELETE {one}": Rule(CONFIG_WRITERS),
        f"GET {one}/history": Rule(CONFIG_READERS),
        f"GET {one}/diff": Rule(CONFIG_READERS, query={"from": "1"}),
        f"POST {one}/rollback": Rule(CONFIG_WRITERS, {"version": 1}),
    }


_ROOM = "/api/v1/conversations/{conversation_id}"
_HOOK = "/api/v1/webhooks/{webhook_id}"
_CALL = "/api/v1/rooms/{room_id}"
_LIVE = {"conversation_id": OWN_ROOM}
RULES: dict[str, Rule] = {
    # conversations
    "POST /api/v1/conversations": Rule(MEMBERS, {}),
    "GET /api/v1/conversations": Rule(READERS | MEMBERS),
    f"GET {_ROOM}": Rule(OWN_READERS),
    f"DELETE {_ROOM}": Rule(OWNERS),
    f"GET {_ROOM}/effective-config": Rule(OWN_READERS),
    f"PATCH {_ROOM}/config": Rule(OWNERS, {"goal": "Ship it"}),
    f"POST {_ROOM}/commands": Rule(OWNERS, {"type": "pass_baton", "to": None}),
    f"GET {_ROOM}/messages": Rule(OWN_READERS),
    f"GET {_ROOM}/sessions": Rule(OWN_READERS),
    f"POST {_ROOM}/messages": Rule(OWNERS, {"text": "hello"}),
    "POST /api/v1/conversations/save-turn": Rule(
        OWNERS, {"conversation_id": OWN_ROOM, "user_message": "a", "assistant_message": "b"}
    ),
    "POST /api/v1/sessions/save": Rule(FULL, {"conversation_id": OWN_ROOM}),
    f"GET {_ROOM}/events": Rule(OWN_READERS),
    f"GET {_ROOM}/stream": Rule(OWN_READERS),
    f"GET {_ROOM}/at": Rule(OWN_READERS),
    f"GET {_ROOM}/export": Rule(OWN_READERS),
    f"POST {_ROOM}/branch": Rule(OWNERS, {}),
    "WS /ws/live": Rule(OWN_READERS, query=_LIVE),
    "WS /api/v1/ws/live": Rule(OWN_READERS, query=_LIVE),
    # files
    "POST /api/v1/files": Rule(OWNERS, b"any bytes", query=_LIVE),
    "GET /api/v1/files/{file_id}": Rule(OWN_READERS),
    "HEAD /api/v1/files/{file_id}": Rule(OWN_READERS),
    "DELETE /api/v1/files/{file_id}": Rule(OWNERS),
    f"GET {_ROOM}/files": Rule(OWN_READERS),
    # configs
    **_configs("bots", BOT, RENAME),
    **_configs("teams", TEAM, RENAME),
    **_configs("routines", ROUTINE, RENAME),
    **_configs("subtopics", SUBTOPIC, {"title": "Thirds"}),
    # Their ids are known keys: the second to make one gets 409.
    **_configs("settings", SETTING, {"description": "For all"}, also=(409,)),
    # changes
    "GET /api/v1/changes": Rule(CONFIG_READERS),
    "GET /api/v1/webhooks": Rule(CONFIG_WRITERS),
    "POST /api/v1/webhooks": Rule(CONFIG_WRITERS, WEBHOOK),
    f"GET {_HOOK}": Rule(CONFIG_WRITERS),
    f"PATCH {_HOOK}": Rule(CONFIG_WRITERS, {"kinds": ["team"]}),
    f"DELETE {_HOOK}": Rule(CONFIG_WRITERS),
    f"POST {_HOOK}/rotate": Rule(CONFIG_WRITERS),
    f"POST {_HOOK}/test": Rule(CONFIG_WRITERS),
    f"GET {_HOOK}/deliveries": Rule(CONFIG_WRITERS),
    # rooms
    "POST /api/v1/rooms": Rule(MEMBERS, {}),
    "GET /api/v1/rooms": Rule(READERS | MEMBERS),
    f"GET {_CALL}": Rule(OWN_READERS),
    f"PATCH {_CALL}": Rule(OWNERS, {"open": True}),
    f"DELETE {_CALL}": Rule(OWNERS),
    f"POST {_CALL}/swarm": Rule(OWNERS),
    f"GET {_CALL}/swarm": Rule(OWN_READERS, also=(404,)),
    f"POST {_CALL}/recording": Rule(OWNERS, {"recording": True}),
    f"GET {_CALL}/recording": Rule(OWN_READERS),
    f"POST {_CALL}/agent-joined": Rule(FULL, {"agent_identity": "agent-1"}),
    "POST /api/getToken": Rule(MEMBERS, {}),
    "GET /api/token": Rule(OWN_READERS, query={"room": CALL}),
    "POST /agent/voice/automatic": Rule(MEMBERS, {}),
    "POST /api/v1/agent/voice/automatic": Rule(MEMBERS, {}),
    "POST /api/v1/webhooks/livekit": Rule(SIGNED, b"{}"),
    # telephones; the server of the matrix takes no sound, which is 503 for those who are let in
    **{
        f"WS {prefix}/agent/voice/{rest}": Rule(PHONES, also=(503,))
        for prefix in ("", "/api/v1")
        for rest in ("{service}/{workflow}", "twilio/callback/{workflow}")
    },
    # people
    "POST /api/v1/auth/register": Rule(ANYBODY, _ZOE, also=(409,)),
    "POST /api/v1/auth/login": Rule(ANYBODY, _ZOE, also=(401,)),
    "POST /api/v1/auth/refresh": Rule(ANYBODY, {"refresh_token": "none"}, also=(401,)),
    "GET /api/v1/profile": Rule(USERS),
    "PATCH /api/v1/profile": Rule(USERS, {"name": "Another name"}),
    "GET /api/v1/users": Rule(ADMINS),
    "POST /api/v1/users": Rule(ADMINS, {"email": "new@example.org"}),
    "GET /api/v1/users/{user_id}": Rule(ADMINS),
    "PATCH /api/v1/users/{user_id}": Rule(ADMINS, {"status": "disabled"}),
    "DELETE /api/v1/users/{user_id}": Rule(ADMINS),
    "GET /api/v1/api-keys": Rule(ADMINS),
    "POST /api/v1/api-keys": Rule(ADMINS, {"name": "worker"}),
    "DELETE /api/v1/api-keys/{key_id}": Rule(ADMINS),
    # operations
    "GET /health/live": Rule(ANYBODY),
    "GET /health/ready": Rule(ANYBODY),
    "GET /status": Rule(READERS),
    "GET /status/rooms": Rule(READERS),
    "GET /status/workers": Rule(READERS),
    "GET /status/models": Rule(READERS),
    "GET /metrics": Rule(READERS),
    "GET /api/metrics": Rule(READERS),
    # the contract, and its pages in development
    "GET /api/v1/openapi.json": Rule(ANYBODY),
    "GET /docs": Rule(ANYBODY),
    "GET /docs/oauth2-redirect": Rule(ANYBODY),
    "GET /redoc": Rule(ANYBODY),
    # between servers
    "POST /internal/v1/conversations/{conversation_id}/commands": Rule(SERVERS, _SAID),
    "POST /internal/v1/conversations/{conversation_id}/give": Rule(
        SERVERS, msgspec.json.encode(AskedFor("s-1")), also=_AWAY
    ),
    "POST /internal/v1/given": Rule(SERVERS, msgspec.json.encode(Given(()))),
    # at last, since nobody comes back from it
    "POST /api/v1/auth/logout": Rule(USERS),
}


def routes_of(app: FastAPI) -> Iterator[str]:
    """Name every route the application has: `GET /status`, `WS /ws/live`.

    What is mounted is another application, with routes that nobody here can see.
    """
    for route in iter_route_contexts(app.routes):
        methods = set(route.methods or ())
        if isinstance(route.original_route, WebSocketRoute):
            yield f"WS {route.path}"
        elif not methods:
            yield f"MOUNT {route.path}"
        elif "GET" in methods:
            # HEAD beside it is the same route, without the body.
            methods.discard("HEAD")
        yield from (f"{one} {route.path}" for one in sorted(methods))


def unruled(app: FastAPI) -> tuple[list[str], list[str]]:
    """Return the routes without a rule, and the rules without a route."""
    routes, rules = set(routes_of(app)), set(RULES)
    return sorted(routes - rules), sorted(rules - routes)


Clients = Mapping[Who, httpx.AsyncClient]
Make = Callable[[Clients], Awaitable[str]]
"""Makes the thing that a path names, for `Who.OWN` if it has an owner; returns its path."""


async def _conversation(clients: Clients) -> str:
    id = new_id()
    await _made(clients[Who.OWN], "/api/v1/conversations", {"id": id})
    return f"/api/v1/conversations/{id}"


async def _internal(clients: Clients) -> str:
    return "/internal" + (await _conversation(clients)).removeprefix("/api")


async def _file(clients: Clients) -> str:
    answer = await clients[Who.OWN].post("/api/v1/files", params=_LIVE, content=b"any bytes")
    assert answer.is_success, answer.text
    return str(answer.headers["location"])


def _config(kind: str, body: dict[str, Any]) -> Make:
    async def make(clients: Clients) -> str:
        made = await _made(clients[Who.ADMIN], f"/api/v1/{kind}", body)
        return f"/api/v1/{kind}/{made['id']}"

    return make


def _phone(path: str) -> Make:
    async def make(clients: Clients) -> str:
        return path

    return make


async def _room(clients: Clients) -> str:
    made = await _made(clients[Who.OWN], "/api/v1/rooms", {})
    return f"/api/v1/rooms/{made['room_id']}"


async def _setting(clients: Clients) -> str:
    path = "/api/v1/settings/limits"
    made = await clients[Who.ADMIN].post("/api/v1/settings", json=SETTING)
    if made.status_code == 409:
        await _made(clients[Who.ADMIN], f"{path}/rollback", {"version": 1})
    return path


async def _user(clients: Clients) -> str:
    email = {"email": f"{new_id()}@example.org"}
    made = await _made(clients[Who.ADMIN], "/api/v1/users", email)
    return f"/api/v1/users/{made['id']}"


async def _api_key(clients: Clients) -> str:
    made = await _made(clients[Who.ADMIN], "/api/v1/api-keys", {"name": "worker"})
    return f"/api/v1/api-keys/{made['info']['id']}"


async def _made(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.is_success, (path, answer.text)
    made: dict[str, Any] = answer.json()
    return made


MAKERS: dict[str, Make] = {
    _ROOM: _conversation,
    "/api/v1/files/{file_id}": _file,
    "/internal/v1/conversations/{conversation_id}": _internal,
    "/api/v1/bots/{config_id}": _config("bots", BOT),
    "/api/v1/teams/{config_id}": _config("teams", TEAM),
    "/api/v1/routines/{config_id}": _config("routines", ROUTINE),
    "/api/v1/subtopics/{config_id}": _config("subtopics", SUBTOPIC),
    "/api/v1/settings/{config_id}": _setting,
    _CALL: _room,
    **{
        f"{prefix}/agent/voice/{rest}": _phone(f"{prefix}/agent/voice/{there}")
        for prefix in ("", "/api/v1")
        for rest, there in (
            ("{service}/{workflow}", "twilio/crew"),
            ("twilio/callback/{workflow}", "twilio/callback/crew"),
        )
    },
    _HOOK: _config("webhooks", WEBHOOK),
    "/api/v1/users/{user_id}": _user,
    "/api/v1/api-keys/{key_id}": _api_key,
}
"""By the beginning of a path, its last parameter included; the longest one counts."""
