"""The application as a whole: its contract, and what it answers before it has a runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from src.api.app import Api, create_app
from src.api.settings import ApiSettings
from tests.support import permissions

SECRET = SecretStr("a secret of tests, at least thirty-two characters")


@pytest.fixture(scope="module")
def app() -> Api:
    return create_app(ApiSettings(jwt_secret=SECRET))


@pytest.fixture(scope="module")
def contract(app: Api) -> dict[str, Any]:
    return app.openapi()


def operations(contract: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_reference_of_the_contract_leads_somewhere(contract: dict[str, Any]) -> None:
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(contract)))

    assert wanted <= set(contract["components"]["schemas"])


PUBLIC = ("/health/", "/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/refresh")


def test_every_route_but_health_and_login_says_that_it_needs_a_token(
    contract: dict[str, Any],
) -> None:
    for path, method, operation in operations(contract):
        public = path.startswith(PUBLIC)
        assert ("security" in operation) is not public, (path, method)
        assert public or "401" in operation["responses"], (path, method)


BARE = ("/rotate", "/test", "/swarm")
"""POSTs whose address says all."""


def test_every_write_says_what_it_takes_and_shows_an_example(contract: dict[str, Any]) -> None:
    for path, method, operation in operations(contract):
        if method in ("post", "put", "patch") and not path.endswith(BARE):
            (content,) = operation["requestBody"]["content"].values()
            assert content["example"], (path, method)
            assert "413" in operation["responses"], (path, method)


def test_every_operation_has_a_tag_a_summary_and_an_id_of_its_own(
    contract: dict[str, Any],
) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(contract)]

    assert len(set(ids)) == len(ids)
    assert all(op["tags"] and op["summary"] for _, _, op in operations(contract))


def test_every_route_has_a_rule_that_says_who_may_use_it(app: Api) -> None:
    """The authorisation matrix tries them; here it is only seen that none is missing."""
    missing, stale = permissions.unruled(app)

    table = permissions.__file__
    assert not missing, f"say in RULES of {table} who may use {missing}"
    assert not stale, f"take {stale} out of RULES of {table}: there is no such route"


async def nothing() -> None:
    """Answer nothing."""


async def say_nothing(websocket: WebSocket) -> None:
    """Say nothing."""


ADDED: dict[str, Callable[[Api], object]] = {
    "GET /new": lambda app: app.add_api_route("/new", nothing),
    "DELETE /status": lambda app: app.add_api_route("/status", nothing, methods=["DELETE"]),
    "HEAD /status": lambda app: app.add_api_route("/status", nothing, methods=["HEAD"]),
    "WS /new": lambda app: app.add_api_websocket_route("/new", say_nothing),
    "WS /plain": lambda app: app.router.routes.append(WebSocketRoute("/plain", say_nothing)),
    "GET /plain": lambda app: app.add_route("/plain", lambda _: Response()),
    "MOUNT /inner": lambda app: app.mount("/inner", FastAPI()),
    "GET /api/v1/new": lambda app: app.include_router(added_router()),
}


def added_router() -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    router.add_api_route("/new", nothing)
    return router


@pytest.mark.parametrize("route", ADDED)
def test_a_new_route_of_any_sort_needs_a_rule(route: str) -> None:
    app = create_app(ApiSettings(jwt_secret=SECRET))

    ADDED[route](app)

    assert permissions.unruled(app) == ([route], [])


def test_a_rule_without_its_route_is_noticed(monkeypatch: pytest.MonkeyPatch, app: Api) -> None:
    monkeypatch.setitem(permissions.RULES, "GET /gone", permissions.Rule(permissions.ANYBODY))

    assert permissions.unruled(app) == ([], ["GET /gone"])


def test_the_internal_route_is_in_no_contract(contract: dict[str, Any]) -> None:
    assert not [path for path in contract["paths"] if path.startswith("/internal")]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/health/live", 405, "method_not_allowed"),
        ("GET", "/status", 401, "unauthorized"),
        ("GET", "/metrics", 401, "unauthorized"),
        ("GET", "/api/metrics", 401, "unauthorized"),
        ("GET", "/api/v1/bots", 401, "unauthorized"),
    ],
)
async def test_edges_answer_problems(
    app: Api, method: str, path: str, status: int, code: str
) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        answer = await http.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/conversations", "GET, POST"),
        ("/api/v1/bots/ada", "DELETE, GET, PATCH, PUT"),
        ("/api/v1/conversations/c-1/messages", "GET, POST"),
        # Would also do for the id of a webhook or a conversation.
        ("/api/v1/webhooks/livekit", "POST"),
        ("/api/v1/conversations/save-turn", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(app: Api, path: str, allowed: str) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        answer = await http.request("TRACE", path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_the_process_says_that_it_lives_without_any_store(app: Api) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        answer = await http.get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_only_listed_origins_may_call_from_a_browser() -> None:
    app = create_app(ApiSettings(jwt_secret=SECRET, cors_origins=("https://rooms.example",)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        listed = await http.get("/health/live", headers={"Origin": "https://rooms.example"})
        other = await http.get("/health/live", headers={"Origin": "https://evil.example"})

    assert listed.headers["access-control-allow-origin"] == "https://rooms.example"
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(("profile", "status"), [("development", 200), ("production", 404)])
async def test_pages_for_people_are_for_development(profile: Any, status: int) -> None:
    app = create_app(ApiSettings(jwt_secret=SECRET, profile=profile))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        assert (await http.get("/docs")).status_code == status
