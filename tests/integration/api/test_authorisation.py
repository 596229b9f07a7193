"""The authorisation matrix: every route for every role."""

from __future__ import annotations

from typing import Any

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer

ADMIN, EDITOR, MEMBER, SERVICE, VIEWER = (
    Role.ADMIN,
    Role.EDITOR,
    Role.MEMBER,
    Role.SERVICE,
    Role.VIEWER,
)
ALL = {ADMIN, SERVICE}
READERS = ALL | {VIEWER}
SAVE = "/api/v1/conversations/save-turn"
TURN = {"conversation_id": "c-1", "user_message": "a", "assistant_message": "b"}
BATON = {"type": "pass_baton", "to": None}

# (method, path, body) -> roles that may, for a caller who is no member of the conversation.
MATRIX: list[tuple[str, str, Any, set[Role]]] = [
    ("POST", "/api/v1/conversations", {}, ALL | {MEMBER}),
    ("GET", "/api/v1/conversations", None, READERS | {MEMBER}),
    ("GET", ROOM, None, READERS),
    ("GET", f"{ROOM}/messages", None, READERS),
    ("GET", f"{ROOM}/events", None, READERS),
    ("POST", f"{ROOM}/messages", {"text": "a"}, ALL),
    ("POST", SAVE, TURN, ALL),
    ("POST", f"{ROOM}/commands", BATON, ALL),
    ("PATCH", f"{ROOM}/config", {"goal": "b"}, ALL),
    ("POST", "/api/v1/bots", {"name": "Bea"}, ALL | {EDITOR}),
    ("GET", "/api/v1/bots", None, READERS | {EDITOR}),
    ("GET", "/api/v1/bots/ada", None, READERS | {EDITOR}),
    ("GET", "/api/v1/bots/ada/history", None, READERS | {EDITOR}),
    ("PUT", "/api/v1/bots/ada", {"name": "Ada"}, ALL | {EDITOR}),
    ("PATCH", "/api/v1/bots/ada", {"role": "lead"}, ALL | {EDITOR}),
    ("POST", "/api/v1/teams", {"name": "Team"}, ALL | {EDITOR}),
    ("GET", "/api/v1/teams", None, READERS | {EDITOR}),
    ("GET", "/api/v1/teams/crew", None, READERS | {EDITOR}),
    ("GET", "/api/v1/teams/crew/history", None, READERS | {EDITOR}),
    ("PUT", "/api/v1/teams/crew", {"name": "Crew"}, ALL | {EDITOR}),
    ("PATCH", "/api/v1/teams/crew", {"objectives": ["win"]}, ALL | {EDITOR}),
    ("GET", "/status", None, READERS),
    ("GET", "/metrics", None, READERS),
    ("GET", "/api/metrics", None, READERS),
    # What may be done once comes last, the roles that may not first.
    ("DELETE", ROOM, None, ALL),
    ("DELETE", "/api/v1/bots/ada", None, ALL | {EDITOR}),
    ("DELETE", "/api/v1/teams/crew", None, ALL | {EDITOR}),
]
STREAMED = {("get", "/api/v1/conversations/{conversation_id}/stream")}


async def test_every_route_is_open_to_the_roles_it_names_and_no_other(
    server: RunningServer,
) -> None:
    wrong = []
    async with server.as_("root", ADMIN) as root:
        await begin(root)
        await root.post("/api/v1/bots", json={"id": "ada", "name": "Ada"})
        await root.post("/api/v1/teams", json={"id": "crew", "name": "Crew"})
        for method, path, body, allowed in MATRIX:
            for role in sorted(Role, key=lambda one: one in allowed):
                async with server.as_(f"some-{role}", role) as client:
                    answer = await client.request(method, path, json=body)
                was_allowed = answer.status_code not in (401, 403)
                if was_allowed is not (role in allowed):
                    wrong.append((method, path, role.value, answer.status_code))

    assert wrong == []


def test_the_matrix_has_every_route(server: RunningServer) -> None:
    routes = {
        (method, path)
        for path, methods in server.app.openapi()["paths"].items()
        for method in methods
        if not path.startswith("/health/")
    }
    shown = {
        (
            method.lower(),
            path.replace(ROOM, "/api/v1/conversations/{conversation_id}")
            .replace("bots/ada", "bots/{config_id}")
            .replace("teams/crew", "teams/{config_id}"),
        )
        for method, path, _, _ in MATRIX
    }

    assert routes - STREAMED == shown


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
                    await client.post(f"{ROOM}/messages", json={"text": "a"}),
                    await client.post(SAVE, json=TURN),
                    await client.post(f"{ROOM}/commands", json=BATON),
                    await client.post(f"{ROOM}/commands", json={"type": "count", "credits": 1}),
                    await client.patch(f"{ROOM}/config", json={"goal": name}),
                )
            ]

    assert statuses == {
        "carl": [200, 200, 201, 200, 200, 403, 200],
        "zoe": [200, 200, 201, 200, 200, 403, 403],
        "yan": [200, 200, 201, 200, 200, 403, 403],
        "eve": [403, 403, 403, 403, 403, 403, 403],
    }
