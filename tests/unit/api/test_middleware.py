"""What stands around every request: its id, the security headers, the length of bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api.errors import BodyTooSlow
from src.api.middleware import Around, BodyLimit, KnownHosts, Traffic
from src.api.problems import describe, respond


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body; what the limit raises is answered as an application would."""
    try:
        body = await Request(scope, receive).body()
    except HTTPException as error:
        await respond(describe(error), scope["state"]["request_id"])(scope, receive, send)
        return
    await Response(body)(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("password hunter2")


def client(app: ASGIApp, traffic: Traffic | None = None) -> httpx.AsyncClient:
    around = Around(app, traffic or Traffic())
    return httpx.AsyncClient(transport=httpx.ASGITransport(around), base_url="http://test")


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_every_answer_has_security_headers_and_an_id() -> None:
    async with client(echo) as http:
        first, second = await http.get("/"), await http.get("/")

    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["x-frame-options"] == "SAMEORIGIN"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"), [("trace-7.a", True), ("a b", False), ("x" * 129, False), ("", False)]
)
async def test_a_clients_request_id_is_kept_if_it_is_one(given: str, kept: bool) -> None:
    async with client(echo) as http:
        answer = await http.get("/", headers={"X-Request-Id": given})

    assert (answer.headers["x-request-id"] == given) is kept


async def test_a_defect_is_a_problem_without_details() -> None:
    traffic = Traffic()
    async with client(broken, traffic) as http:
        answer = await http.get("/")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "hunter2" not in answer.text
    assert traffic.answers == {("GET", 500): 1}


@pytest.mark.parametrize("length", [0, 10])
async def test_a_body_up_to_the_limit_passes(length: int) -> None:
    async with client(BodyLimit(echo, 10, 60.0)) as http:
        whole = await http.post("/", content=b"x" * length)
        parts = await http.post("/", content=chunks(b"x" * (length // 2), b"x" * (length // 2)))

    assert (whole.status_code, len(whole.content)) == (200, length)
    assert (parts.status_code, len(parts.content)) == (200, length)


async def test_a_longer_body_is_refused_announced_or_not() -> None:
    async with client(BodyLimit(echo, 10, 60.0)) as http:
        announced = await http.post("/", content=b"x" * 11)
        chunked = await http.post("/", content=chunks(b"x" * 6, b"x" * 6))

    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"
        assert "10 bytes" in answer.json()["detail"]


class Slow:
    """A client that sends one part of a body; it goes away after a while if that was all."""

    def __init__(self, *, more_body: bool) -> None:
        self._more = more_body
        self._sent = False

    async def __call__(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": b"x", "more_body": self._more}
        if self._more:
            await asyncio.Event().wait()
        for _ in range(3):
            # Longer than no time at all.
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}


async def read_by(app: ASGIApp, receive: Receive, path: str = "/") -> None:
    async def send(_: Message) -> None:
        """Nobody looks at the answer."""

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "state": {}}
    async with asyncio.timeout(20):
        await app(scope, receive, send)


@pytest.mark.parametrize("path", ["/", "/files"])
async def test_a_body_that_does_not_come_is_not_waited_for(path: str) -> None:
    limit = BodyLimit(echo, 10, 0.0, {"/files": 100})

    with pytest.raises(BodyTooSlow):
        await read_by(limit, Slow(more_body=True), path)


async def test_a_client_that_only_listens_is_waited_for() -> None:
    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    await read_by(BodyLimit(listens, 10, 0.0), Slow(more_body=False))


def test_durations_are_counted_in_buckets() -> None:
    traffic = Traffic()
    for seconds in (0.0005, 0.001, 0.03, 60.0):
        traffic.count("GET", 200, seconds)

    assert traffic.buckets[0] == 2
    assert traffic.buckets[-1] == 1
    assert sum(traffic.buckets) == 4
    assert traffic.answers["GET", 200] == 4


async def kept(scope: Scope, receive: Receive, send: Send) -> None:
    own = {"Cache-Control": "private, no-cache", "Content-Security-Policy": "sandbox"}
    await Response(headers=own)(scope, receive, send)


async def test_answers_are_stored_by_nobody_unless_they_say_how() -> None:
    async with client(echo) as plain, client(kept) as own:
        assert (await plain.get("/")).headers["cache-control"] == "no-store"
        assert (await own.get("/")).headers["cache-control"] == "private, no-cache"
        assert (await own.get("/")).headers.get_list("content-security-policy") == ["sandbox"]


async def test_who_came_by_tls_is_told_to_stay_with_it() -> None:
    async with client(echo) as http:
        plain, tls = await http.get("/"), await http.get("https://test/")

    assert "strict-transport-security" not in plain.headers
    assert tls.headers["strict-transport-security"].startswith("max-age=31536000")


async def test_only_the_pages_for_people_may_load_scripts() -> None:
    async with client(echo) as http:
        api, page = await http.get("/api/v1/bots"), await http.get("/docs")

    assert api.headers.get_list("content-security-policy") == [
        "default-src 'none'; frame-ancestors 'self'"
    ]
    assert len(page.headers.get_list("content-security-policy")) == 1
    assert "cdn.jsdelivr.net" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("api.example.org", "/", 200),
        ("API.example.org:8443", "/", 200),
        ("[::1]:8080", "/", 200),
        ("evil.example.org", "/", 400),
        ("api.example.org.evil.org", "/", 400),
        ("[::1", "/", 400),
        ("10.0.0.7:8080", "/health/ready", 200),
        ("server-1:8080", "/internal/v1/given", 200),
    ],
)
async def test_only_listed_hosts_are_answered(host: str, path: str, status: int) -> None:
    app = KnownHosts(Around(echo, Traffic()), ["api.example.org", "::1"])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.get(path, headers={"Host": host})

    assert answer.status_code == status
    if status == 400:
        assert answer.headers["content-type"] == "application/problem+json"
