"""Reads of a conversation that L1 can answer at once, ahead of FastAPI's routing.

The same answer as the route behind it, byte for byte, for a third of its time. Whatever is not
plain (another route, a token not seen before, a browser's Origin, a miss, an entry that may be
old) goes on to the application, which knows all of it. These reads are counted and not logged:
a log line costs more than the read.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from src.api import headers
from src.api.auth.door import Door
from src.api.auth.rules import may_read
from src.api.middleware import Traffic
from src.api.rate_limits import RateLimits
from src.state.errors import MalformedVersion
from src.state.models import Version, Where

PREFIX = "/api/v1/conversations/"
_START = len(PREFIX)


class HotReads:
    """Answers `GET /api/v1/conversations/{id}` from L1, or hands the request on."""

    def __init__(self, app: ASGIApp, door: Door, traffic: Traffic, limits: RateLimits) -> None:
        self._app = app
        self._known = door.known
        self._traffic = traffic
        self._at_once = limits.at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and scope["path"].startswith(PREFIX)
            and not scope["query_string"]
        ):
            answer = self._answer(scope)
            if answer is not None:
                status, answer_headers, body = answer
                await send(
                    {
                        "type": "http.response.start",
                        "status": status,
                        "headers": answer_headers,
                    }
                )
                await send({"type": "http.response.body", "body": body})
                return
        await self._app(scope, receive, send)

    def _answer(self, scope: Scope) -> tuple[int, headers.Headers, bytes] | None:
        """Return (status, headers, body); None when the application has to look closer."""
        authorization = wanted = request_id = at_least = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"if-none-match":
                wanted = value
            elif name == headers.REQUEST_ID:
                request_id = value
            elif name == headers.VERSION:
                at_least = value
            elif name == b"origin":
                return None
        if authorization is None:
            return None
        caller = self._known(authorization)
        service = scope["state"].get("service") if "state" in scope else None
        if caller is None or service is None:
            return None
        entry = service.peek(scope["path"][_START:])
        if entry is None or entry.state.status == "deleted" or service.pending(entry.id):
            return None
        if not may_read(caller, entry.state):
            return None
        if at_least is not None and not _reaches(entry.version, at_least):
            return None
        if wanted is not None and wanted.decode("latin-1") != entry.etag:
            return None
        rates = self._at_once(scope, caller)
        if rates is None:
            return None
        if wanted is None:
            status, body = 200, service.body(entry)
            answer = headers.of_state(entry, Where.L1, None, len(body))
        else:
            status, body = 304, b""
            answer = headers.of_state(entry, Where.L1, None, None)
        answer += headers.security(scope.get("scheme"))
        answer.append((headers.REQUEST_ID, headers.request_id(request_id)))
        answer += rates
        self._traffic.hot_hits += 1
        return status, answer, body


def _reaches(version: Version, at_least: bytes) -> bool:
    try:
        return version >= Version.parse(at_least.decode("latin-1"))
    except MalformedVersion:
        return False
