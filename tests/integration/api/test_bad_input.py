"""Bad input: a 4xx problem that names the field, and nothing changed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import BEGIN, ROOM, begin
from tests.support.api import RunningServer

MESSAGES, COMMANDS, CONFIG = f"{ROOM}/messages", f"{ROOM}/commands", f"{ROOM}/config"
SAVE = "/api/v1/conversations/save-turn"
TURN = {"conversation_id": "c-1", "user_message": "a", "assistant_message": "b"}
JSON = {"Content-Type": "application/json"}

BODIES: list[tuple[str, str, Any, int, str]] = [
    # Malformed
    ("POST", MESSAGES, b"{", 422, "body"),
    ("POST", MESSAGES, b"", 422, "body"),
    ("POST", MESSAGES, b"[]", 422, "body"),
    ("POST", MESSAGES, b'{"text": "\xff"}', 422, "body"),
    ("POST", "/api/v1/conversations", b"nope", 422, "body"),
    ("POST", COMMANDS, b"nope", 422, "body"),
    ("PATCH", CONFIG, b"nope", 422, "body"),
    ("POST", SAVE, b"nope", 422, "body"),
    ("PUT", "/api/v1/bots/ada", b"nope", 422, "body"),
    # Text that cannot be stored
    ("POST", MESSAGES, b'{"text": "a\\u0000"}', 422, "text"),
    ("POST", MESSAGES, b'{"text": "a\\ud800"}', 422, "text"),
    ("PATCH", CONFIG, b'{"goal": "\\u0000"}', 422, "goal"),
    ("POST", SAVE, b'{"user_message": "\\udfff"}', 422, "user_message"),
    ("PATCH", "/api/v1/bots/ada", b'{"persona": "\\u0000"}', 422, "persona"),
    # Unknown fields
    ("POST", MESSAGES, {"text": "a", "colour": "red"}, 422, "colour"),
    ("POST", "/api/v1/conversations", {"id": "c-9", "colour": "red"}, 422, "colour"),
    ("POST", COMMANDS, {"type": "pass_baton", "to": None, "colour": 1}, 422, "colour"),
    ("PATCH", CONFIG, {"colour": "red"}, 422, "patch.colour"),
    ("POST", SAVE, {**TURN, "colour": "red"}, 422, "colour"),
    ("POST", "/api/v1/bots", {"id": "bea", "name": "Bea", "colour": 1}, 422, "colour"),
    ("PATCH", "/api/v1/bots/ada", {"colour": 1}, 422, "colour"),
    # Wrong types
    ("POST", MESSAGES, {"text": 7}, 422, "text"),
    ("POST", MESSAGES, {"text": "a", "author": "zoe"}, 422, "author"),
    ("POST", MESSAGES, {"text": "a", "started_at": "today"}, 422, "started_at"),
    ("POST", COMMANDS, {"type": "blackboard", "set": {}}, 422, "set"),
    ("POST", COMMANDS, {"type": "nonsense"}, 422, "type"),
    ("POST", COMMANDS, {"type": "create", "id": "c-2"}, 422, "type"),
    ("PATCH", CONFIG, {"limits": {"tool_calls": "many"}}, 422, "patch.limits.tool_calls"),
    ("POST", SAVE, {**TURN, "conversation_id": 7}, 422, "conversation_id"),
    ("POST", SAVE, {**TURN, "idempotency_key": "a b"}, 422, "idempotency_key"),
    ("POST", "/api/v1/bots", {"id": 7, "name": "Bea"}, 422, "id"),
    ("POST", "/api/v1/bots", {"id": "bea"}, 422, "name"),
    ("PUT", "/api/v1/bots/ada", {"name": ""}, 422, "name"),
    # Too long, too small
    ("POST", MESSAGES, {"text": "x" * 32_769}, 422, "text"),
    ("POST", MESSAGES, {"text": ""}, 422, "text"),
    ("POST", "/api/v1/conversations", {"id": "x" * 129}, 422, "id"),
    # What the state does not know
    ("POST", MESSAGES, {"text": "a", "author": {"kind": "bot", "id": "eve"}}, 409, "author.id"),
    ("POST", COMMANDS, {"type": "remove_participant", "id": "eve"}, 409, "id"),
]

HEADERS: list[tuple[str, str, dict[str, str], int, str]] = [
    ("GET", ROOM, {"X-Swarm-Version": "soon"}, 422, "X-Swarm-Version"),
    ("GET", ROOM, {"X-Swarm-Version": f"1.{2**63}"}, 422, "X-Swarm-Version"),
    ("DELETE", ROOM, {"If-Match": "soon"}, 422, "If-Match"),
    ("DELETE", ROOM, {"If-Match": '"1.999"'}, 412, "If-Match"),
    ("DELETE", ROOM, {"Idempotency-Key": "a b"}, 422, "Idempotency-Key"),
    ("DELETE", ROOM, {"X-Swarm-Durability": "eternal"}, 422, "X-Swarm-Durability"),
    ("DELETE", "/api/v1/bots/ada", {"If-Match": "soon"}, 422, "If-Match"),
    ("DELETE", "/api/v1/bots/ada", {"If-Match": '"9"'}, 412, "If-Match"),
    ("GET", f"{ROOM}/messages?limit=0", {}, 422, "limit"),
    ("GET", f"{ROOM}/messages?limit=201", {}, 422, "limit"),
    ("GET", f"{ROOM}/messages?cursor=x", {}, 422, "cursor"),
    ("GET", f"{ROOM}/sessions?cursor=x", {}, 422, "cursor"),
    ("GET", f"{ROOM}/events?after=-1", {}, 422, "after"),
    ("GET", f"{ROOM}/stream", {"Last-Event-ID": "x"}, 422, "Last-Event-Id"),
    ("GET", "/api/v1/conversations/a%20b", {}, 422, "conversation_id"),
    ("GET", "/api/v1/bots/a%20b", {}, 422, "config_id"),
]

UNKNOWN: list[tuple[str, str, Any]] = [
    ("GET", "/api/v1/conversations/none", None),
    ("DELETE", "/api/v1/conversations/none", None),
    ("GET", "/api/v1/conversations/none/messages", None),
    ("GET", "/api/v1/conversations/none/sessions", None),
    ("GET", "/api/v1/conversations/none/events", None),
    ("GET", "/api/v1/conversations/none/stream", None),
    ("POST", "/api/v1/conversations/none/messages", {"text": "a"}),
    ("POST", "/api/v1/conversations/none/commands", {"type": "pass_baton", "to": None}),
    ("PATCH", "/api/v1/conversations/none/config", {}),
    ("POST", SAVE, {**TURN, "conversation_id": "none"}),
    ("GET", "/api/v1/bots/none", None),
    ("PUT", "/api/v1/bots/none", {"name": "None"}),
    ("PATCH", "/api/v1/bots/none", {}),
    ("DELETE", "/api/v1/bots/none", None),
    ("GET", "/api/v1/bots/none/history", None),
]


def _named(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem["status"], ", ".join(one["field"] for one in problem["errors"])


async def _begun(client: httpx.AsyncClient) -> Any:
    await begin(client)
    await client.post("/api/v1/bots", json={"id": "ada", "name": "Ada"})
    return await _everything(client)


async def _everything(client: httpx.AsyncClient) -> Any:
    state = (await client.get(ROOM)).json()
    return state, (await client.get("/api/v1/bots")).json()


async def test_a_bad_body_is_refused_by_name_and_changes_nothing(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        before = await _begun(root)
        wrong = []
        for method, path, body, status, field in BODIES:
            content = (
                {"content": body, "headers": JSON} if isinstance(body, bytes) else {"json": body}
            )
            answer = await root.request(method, path, **content)
            if _named(answer) != (status, field):
                wrong.append((method, path, str(body)[:80], answer.text[:300]))
        after = await _everything(root)

    assert wrong == []
    assert before == after


@pytest.mark.directly("nginx refuses such a path before a server sees it")
async def test_an_id_that_no_text_can_hold_is_refused_by_name(alone: RunningServer) -> None:
    async with alone.as_("root", Role.ADMIN) as root:
        answer = await root.get("/api/v1/conversations/%00")

    assert _named(answer) == (422, "conversation_id")


async def test_a_bad_header_query_or_id_is_refused_by_name(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        before = await _begun(root)
        wrong = []
        for method, path, headers, status, field in HEADERS:
            answer = await root.request(method, path, headers=headers)
            if _named(answer) != (status, field):
                wrong.append((method, path, headers, answer.text[:300]))
        after = await _everything(root)

    assert wrong == []
    assert before == after


async def test_what_does_not_exist_is_not_found_and_not_made(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        before = await _begun(root)
        answers = [await root.request(method, path, json=body) for method, path, body in UNKNOWN]
        after = await _everything(root)

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"not_found"}
    assert before == after


async def test_a_body_that_is_too_long_is_refused_unread(server: RunningServer) -> None:
    async with server.as_("root", Role.ADMIN) as root:
        await begin(root)
        answer = await root.post(MESSAGES, content=b'{"text": "' + b"x" * (1 << 20) + b'"}')

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_no_token_or_a_wrong_one_is_refused_everywhere(server: RunningServer) -> None:
    operations = [
        (method.upper(), path.replace("{conversation_id}", "c-1").replace("{config_id}", "ada"))
        for path, methods in server.app.openapi()["paths"].items()
        for method, operation in methods.items()
        if {"token": []} in operation.get("security", ())
    ]
    async with server.as_("root", Role.ADMIN) as root:
        await begin(root)
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        for header in ({}, {"Authorization": "Bearer forged"}):
            for method, path in operations:
                answer = await nobody.request(method, path, headers=header, json=BEGIN)
                assert answer.status_code == 401, (method, path, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer")
