"""What stands around every request: id, security headers, access log, and the length of bodies.

All are plain ASGI: a layer that makes request objects would cost more than most answers do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.api import headers
from src.api.errors import BodyTooSlow
from src.api.problems import describe, respond

log = structlog.get_logger(__name__)

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Traffic:
    """Counters of requests, as plain numbers; `metrics.py` reads them when asked."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        """(method, status) -> requests"""
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0
        self.hot_hits = 0
        """Reads answered ahead of routing; they are in no other counter and not in the log."""
        self.live_sessions = 0
        self.streams = 0
        self.streams_refused = 0

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.answers[method, status] += 1
        self.seconds += seconds
        for index, bound in enumerate(BUCKETS_S):
            if seconds <= bound:
                self.buckets[index] += 1
                return
        self.buckets[-1] += 1


class Around:
    """Gives a request its id, an answer its security headers, and the log one line for both."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = headers.request_id(headers.find(scope["headers"], headers.REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        security = headers.of_page(scope["path"], scope.get("scheme"))
        extra = [*security, (headers.REQUEST_ID, request_id)]
        status, seconds = 0, 0.0
        began = time.perf_counter()

        def rates() -> headers.Headers:
            # What src/api/rate_limits.py found, if this request was counted.
            found: headers.Headers = scope["state"].get("rate_headers", [])
            return found

        async def answered(message: Message) -> None:
            nonlocal status, seconds
            if status == 0:
                # To the first word: an event stream or a live session may last for days.
                seconds = time.perf_counter() - began
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                given = list(message.get("headers", ()))
                # What an answer says itself counts: a file has a policy and a life of its own.
                said = {name.lower() for name, _ in given}
                more = [one for one in (headers.NOT_STORED, *extra) if one[0] not in said]
                message["headers"] = [*given, *more, *rates()]
            elif message["type"] == "websocket.accept":
                status = 101
                message["headers"] = [*message.get("headers", ()), *extra, *rates()]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                await self._app(scope, receive, answered)
            except Exception as error:
                log.exception("http.failed", method=scope.get("method"), path=scope["path"])
                if status == 0 and scope["type"] == "http":
                    await respond(describe(error), request_id.decode())(scope, receive, answered)
            finally:
                self._note(scope, status, seconds)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope.get("method", "WEBSOCKET")
        self._traffic.count(method, status, seconds)
        caller = scope["state"].get("caller")
        # The path only: a query string may hold a token.
        log.info(
            "http.request",
            method=method,
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 2),
            caller=None if caller is None else caller.id,
        )


class KnownHosts:
    """Refuses requests that were meant for somebody else, by their Host header.

    Servers among each other and probes use addresses of their own.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._knows(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            error = HTTPException(400, "the Host header names no host of this API")
            request_id = headers.request_id(None).decode()
            await respond(describe(error), request_id)(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        if scope["path"].startswith(("/internal/", "/health/")):
            return True
        given = headers.find(scope["headers"], b"host") or b""
        try:
            host = urlsplit(f"//{given.decode('latin-1')}").hostname
        except ValueError:
            return False
        return host in self._hosts


class BodyLimit:
    """Refuses bodies that are too long, by their announced length or while they come in, or slow.

    A body has to be here within `patience_s`. `longer` names the paths whose bodies are streams,
    and what length each may have instead; of those each part has that time.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        patience_s: float,
        longer: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._app = app
        self._max = max_bytes
        self._patience_s = patience_s
        self._longer = longer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._longer.get(scope["path"], self._max)
        announced = headers.find(scope["headers"], b"content-length")
        if announced is not None and announced.isdigit() and int(announced[:20]) > limit:
            problem = respond(describe(_too_long(limit)), scope["state"]["request_id"])
            await problem(scope, receive, send)
            return
        seen = 0
        clock = asyncio.get_running_loop().time
        # Before the first part is asked for, and after the last one, nobody waits for a body.
        until: float | None = None
        whole = False

        async def limited() -> Message:
            nonlocal seen, until, whole
            if whole:
                return await receive()
            if until is None or scope["path"] in self._longer:
                until = clock() + self._patience_s
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow(self._patience_s) from error
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_long(limit)
            return message

        await self._app(scope, limited, send)


def _too_long(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is longer than {limit} bytes; send less")
