"""The client is held to the OpenAPI document: all of it can be asked for, and asked rightly.

Every method is called against a server that answers what the document says: once with all that an
answer may have, once with no more than it must have.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from hashlib import sha256
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from swarmstate_client import Client, Login
from swarmstate_client.configs import Configs

from src.api.app import create_app
from src.api.settings import ApiSettings
from tests.support.api import SECRET
from tests.support.standing_in import Hasty

Json = dict[str, Any]

NOT_OFFERED = {
    "GET /health/live": "whether one process answers is asked by load balancers, of each by itself",
    "GET /metrics": "read by Prometheus, of each server by itself",
    "GET /api/metrics": "the same",
    "POST /api/v1/webhooks/livekit": "LiveKit's own word, signed with its key",
    "GET /api/token": "the short form for browsers; `rooms.token` asks the whole one",
    "POST /agent/voice/automatic": "the same as below /api/v1, which `rooms.begin` asks",
}

Call = Callable[[Client], Awaitable[object] | AsyncIterator[object]]
FILE = b"abc"
FILE_SHA256 = sha256(FILE).hexdigest()
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def of_configs(configs: Callable[[Client], Configs]) -> list[Call]:
    return [
        lambda swarm: configs(swarm).create({}, id="c", key="k"),
        lambda swarm: configs(swarm).get("c"),
        lambda swarm: configs(swarm).list(),
        lambda swarm: configs(swarm).replace("c", {}, if_match=1),
        lambda swarm: configs(swarm).patch("c", {}, if_match=1),
        lambda swarm: configs(swarm).delete("c", if_match=1),
        lambda swarm: configs(swarm).history("c"),
        lambda swarm: configs(swarm).diff("c", 1, 2),
        lambda swarm: configs(swarm).rollback("c", 1, if_match=2, key="k"),
    ]


CALLS: list[Call] = [
    *of_configs(lambda swarm: swarm.bots),
    *of_configs(lambda swarm: swarm.teams),
    *of_configs(lambda swarm: swarm.routines),
    *of_configs(lambda swarm: swarm.subtopics),
    *of_configs(lambda swarm: swarm.settings),
    lambda swarm: swarm.subtopics.list(topic="fractions"),
    lambda swarm: swarm.changes(kinds=["bot"], ids=["ada"], after=1),
    lambda swarm: swarm.conversations.create(
        "c",
        config={"goal": "rest"},
        participants=[{"id": "ada"}],
        team={"id": "t"},
        available_tools=[{"name": "look"}],
        blackboard=[{"id": "a", "value": 1}],
        key="k",
    ),
    lambda swarm: swarm.conversations.get("c"),
    lambda swarm: swarm.conversations.get_or_create("c"),
    lambda swarm: swarm.conversations.at("c", seq=1, time=NOW),
    lambda swarm: swarm.conversations.list(member="zoe"),
    lambda swarm: swarm.conversations.delete("c", erase=True, if_match="1.2"),
    lambda swarm: swarm.conversations.patch_config("c", {}, if_match="1.2", key="k"),
    lambda swarm: swarm.conversations.effective_config("c"),
    lambda swarm: swarm.conversations.say(
        "c", "hello", author={}, key="k", if_match="1.2", durability="logged", id="m", reply_to="m"
    ),
    lambda swarm: swarm.conversations.save_turn("c", "a", "b", user_id="zoe", bot_id="ada"),
    lambda swarm: swarm.conversations.save_session("c", [], participants={}, duration_s=1.0),
    lambda swarm: swarm.conversations.command("c", "set_subtask", id="s", description="rest"),
    lambda swarm: swarm.conversations.branch("c", seq=1, time=NOW, new_id="d", key="k"),
    lambda swarm: swarm.conversations.messages("c"),
    lambda swarm: swarm.conversations.sessions("c"),
    lambda swarm: swarm.conversations.events("c", after=1),
    lambda swarm: swarm.conversations.stream("c"),
    lambda swarm: swarm.conversations.export("c"),
    lambda swarm: swarm.files.upload("c", FILE, name="a", type="text/plain", key="k"),
    lambda swarm: swarm.files.look("f"),
    lambda swarm: swarm.files.parts("f"),
    lambda swarm: swarm.files.list("c"),
    lambda swarm: swarm.files.delete("f"),
    lambda swarm: swarm.people.register("zoe@example.org", "secret", "Zoe"),
    lambda swarm: swarm.people.profile(),
    lambda swarm: swarm.people.edit_profile({}, if_match=1),
    lambda swarm: swarm.people.logout(everywhere=True),
    lambda swarm: swarm.people.create("zoe@example.org", password="secret", name="Zoe"),
    lambda swarm: swarm.people.list(email="zoe@example.org"),
    lambda swarm: swarm.people.get("u"),
    lambda swarm: swarm.people.edit("u", {}, if_match=1),
    lambda swarm: swarm.people.delete("u", if_match=1),
    lambda swarm: swarm.people.create_api_key("worker", expires_at=NOW),
    lambda swarm: swarm.people.api_keys(),
    lambda swarm: swarm.people.delete_api_key("k"),
    lambda swarm: swarm.webhooks.create("https://example.org", id="w", kinds=["bot"], ids=["ada"]),
    lambda swarm: swarm.webhooks.list(),
    lambda swarm: swarm.webhooks.get("w"),
    lambda swarm: swarm.webhooks.patch("w", {}, if_match=1),
    lambda swarm: swarm.webhooks.delete("w", if_match=1),
    lambda swarm: swarm.webhooks.rotate("w"),
    lambda swarm: swarm.webhooks.test("w"),
    lambda swarm: swarm.webhooks.deliveries("w"),
    lambda swarm: swarm.rooms.begin(team="t", user="zoe", key="k"),
    lambda swarm: swarm.rooms.create(
        "r",
        name="Algebra",
        conversation_id="c",
        user_id="zoe",
        bots=["ada"],
        team="t",
        open=True,
        key="k",
    ),
    lambda swarm: swarm.rooms.list(),
    lambda swarm: swarm.rooms.get("r"),
    lambda swarm: swarm.rooms.patch("r", {}, if_match=1),
    lambda swarm: swarm.rooms.delete("r", if_match=1),
    lambda swarm: swarm.rooms.send_swarm("r"),
    lambda swarm: swarm.rooms.swarm("r"),
    lambda swarm: swarm.rooms.record("r"),
    lambda swarm: swarm.rooms.recording("r"),
    lambda swarm: swarm.rooms.agent_joined("r", "agent-1", bot_id="ada"),
    lambda swarm: swarm.rooms.token("r", identity="zoe", name="Zoe", attributes={"a": "b"}),
    lambda swarm: swarm.status(),
    lambda swarm: swarm.hosted(limit=5),
    lambda swarm: swarm.workers(),
    lambda swarm: swarm.models(),
    lambda swarm: swarm.ready(),
]


@cache
def contract() -> Json:
    settings = ApiSettings(jwt_secret=SecretStr(SECRET))
    return create_app(settings).openapi()


def resolved(schema: Json) -> Json:
    named = schema.get("$ref")
    return contract()["components"]["schemas"][named.rpartition("/")[2]] if named else schema


def example(schema: Json, name: str = "", *, full: bool) -> Any:
    """Return a value of the schema: with every property, or with the required ones alone."""
    schema = resolved(schema)
    if name.startswith("next_"):
        return None  # The last page.
    if name == "version" and schema.get("type") == "string":
        return "1.7"
    if name == "sha256":
        return FILE_SHA256
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return example(schema[choices][0 if full else -1], full=full)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "object":
        wanted = schema.get("properties", {}) if full else schema.get("required", ())
        return {name: example(schema["properties"][name], name, full=full) for name in wanted}
    if kind == "array":
        return [example(schema["items"], full=full)] if full else []
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    return {"string": "x", "integer": 7, "number": 7.5, "boolean": True}.get(kind or "")


@dataclass
class Documented:
    """Answers as the document says, and notes what was asked otherwise."""

    full: bool
    asked: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        name, operation = self._find(request.method, request.path)
        if operation is None:
            self.wrong.append(f"{request.method} {request.path}: there is no such route")
            return web.Response(status=404)
        again = name in self.asked
        self.asked.add(name)
        self.wrong += [f"{name}: {one}" for one in await _undescribed(request, operation)]
        answers = operation["responses"]
        status = min(code for code in answers if code.startswith("2"))
        content = answers[status].get("content", {})
        if "text/event-stream" in content:
            # A stream has no end: this one's token has.
            return web.Response(status=401) if again else self._stream(content)
        if "application/x-ndjson" in content:
            return web.Response(text='{"line": "end", "seq": 7}\n')
        if "application/json" in content and "*/*" not in content:
            body = example(content["application/json"]["schema"], full=self.full)
            return web.json_response(body, status=int(status))
        headers = {"ETag": f'"{FILE_SHA256}"'}
        body = FILE if "*/*" in content or request.method == "HEAD" else None
        return web.Response(status=int(status), body=body, headers=headers)

    def _find(self, method: str, path: str) -> tuple[str, Json | None]:
        # The longest template first: `save-turn` is no id.
        for template, operations in sorted(contract()["paths"].items(), key=_placeholders):
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                operation = operations.get(method.lower())
                if operation is not None:
                    return f"{method} {template}", operation
        return "", None

    def _stream(self, content: Mapping[str, Any]) -> web.Response:
        data = content["text/event-stream"]["schema"]["properties"]["data"]
        body = json.dumps(example(data["contentSchema"]["anyOf"][0], full=self.full))
        headers = {"Content-Type": "text/event-stream"}
        return web.Response(text=f"id: 7\nevent: change\ndata: {body}\n\n", headers=headers)


_USUAL = {
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
}


def _placeholders(item: tuple[str, Any]) -> int:
    return item[0].count("{")


async def _undescribed(request: web.Request, operation: Json) -> list[str]:
    """Name what a request has and its description has not."""
    known = {(one["in"], one["name"].lower()) for one in operation.get("parameters", ())}
    sent = {("query", name) for name in request.query}
    sent |= {("header", name.lower()) for name in request.headers if name.lower() not in _USUAL}
    wrong = [" ".join(one) for one in sorted(sent - known)]
    described = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if request.content_type == "application/json":
        body = await request.json()
        wrong += ["a body"] if described is None else _unknown(described["schema"], body)
    return wrong


def _unknown(schema: Json, body: Json) -> list[str]:
    choices = resolved(schema).get("oneOf")
    if choices is not None:
        (schema,) = (
            one
            for one in map(resolved, choices)
            if one["properties"]["type"]["const"] == body["type"]
        )
    return [f"body {name}" for name in body if name not in resolved(schema)["properties"]]


async def called(call: Call, swarm: Client) -> None:
    what = call(swarm)
    if isinstance(what, AsyncIterator):
        try:
            async for _ in what:
                pass
        except Exception as error:
            if getattr(error, "status", None) != 401:
                raise
    else:
        await what


@pytest.mark.parametrize("full", [True, False], ids=["all fields", "required fields"])
async def test_every_operation_is_reached_as_it_is_described_and_its_answer_understood(
    full: bool,
) -> None:
    documented = Documented(full)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", documented.take)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        # Each look at the clock is a second later, and a token lasts for seven.
        login = Login("zoe@example.org", "secret", clock=partial(next, count(0.0)))
        async with Client(url, login, patience=Hasty()) as swarm:
            for call in CALLS:
                await called(call, swarm)
    every = {
        f"{method.upper()} {path}"
        for path, operations in contract()["paths"].items()
        for method in operations
    }
    assert documented.wrong == []
    assert every - documented.asked == set(NOT_OFFERED)
