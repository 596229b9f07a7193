"""Errors as clients see them (RFC 9457), and the one table that gives each its status.

No route catches anything. An error that is not in the table is a defect: 500, logged with its
trace, and nothing of it in the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from src.api.errors import (
    ApiError,
    BodyTooSlow,
    CutShort,
    Forbidden,
    IdentityProviderAway,
    NotConfigured,
    RangeNotSatisfiable,
    RateLimited,
    TooManyStreams,
    Unauthorized,
    Unavailable,
    UnsupportedType,
)
from src.state.configs import ConfigExists
from src.state.errors import (
    Behind,
    DurableTierUnavailable,
    EventRefused,
    MalformedVersion,
    MayNotErase,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    OwnershipLost,
    OwnershipUnknown,
    ReadOnly,
    Refused,
    StateError,
    TierUnavailable,
    VersionConflict,
)
from src.state.records.first_answers import KeyInUse, KeyReused
from src.state.records.users import UserExists
from src.swarm.errors import (
    MediaUnavailable,
    NotAServer,
    RulesUnknown,
    SwarmError,
    UploadTooSlow,
)
from src.swarm.forwarding import NOT_OWNER, encode_refusal

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wrong with the input: where, and what."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The body of every error."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after: int | None = None
    """Seconds; also in the header Retry-After."""


TABLE: dict[type[Exception], tuple[int, str]] = {
    Unauthorized: (401, "unauthorized"),
    NotAServer: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "not_found"),
    ConfigExists: (409, "exists"),
    UserExists: (409, "exists"),
    VersionConflict: (409, "version_conflict"),
    Refused: (409, "refused"),
    NotOwner: (503, "ownership_unknown"),
    RateLimited: (429, "rate_limited"),
    TooManyStreams: (429, "too_many_streams"),
    KeyInUse: (409, "key_in_use"),
    KeyReused: (409, "key_reused"),
    EventRefused: (422, "event_refused"),
    MalformedVersion: (422, "invalid"),
    OwnershipLost: (503, "ownership_unknown"),
    OwnershipUnknown: (503, "ownership_unknown"),
    OutcomeUnknown: (503, "outcome_unknown"),
    Overloaded: (503, "overloaded"),
    Behind: (503, "behind"),
    Unavailable: (503, "draining"),
    IdentityProviderAway: (503, "identity_provider_unavailable"),
    NotConfigured: (503, "not_configured"),
    MayNotErase: (503, "not_configured"),
    MediaUnavailable: (503, "livekit_unavailable"),
    CutShort: (400, "cut_short"),
    BodyTooSlow: (408, "too_slow"),
    UploadTooSlow: (408, "too_slow"),
    UnsupportedType: (415, "unsupported_type"),
    RangeNotSatisfiable: (416, "range_not_satisfiable"),
    RulesUnknown: (503, "rules_unknown"),
    DurableTierUnavailable: (503, "read_only"),
    TierUnavailable: (503, "tier_unavailable"),
    StateError: (500, "internal"),
    SwarmError: (500, "internal"),
    ApiError: (500, "internal"),
}
"""Class of error -> (status, code); the nearest class of the error's own line counts."""

INPUT_CODES = frozenset(("checksum", "invalid", "too_large"))
"""Refusals of what no state would take, and the OpenAPI document says so (422). All others are of
what is well-formed and does not fit the state, or itself (409)."""

_HTTP_CODES = {400: "malformed", 405: "method_not_allowed", 413: "body_too_large"}
_HTTP_DETAILS = {
    "not_found": "there is no such route; /api/v1/openapi.json lists them",
    "method_not_allowed": "this route has other methods; /api/v1/openapi.json lists them",
}
_INTERNAL = Problem(
    "urn:swarmstate:problem:internal",
    "Internal",
    500,
    "internal",
    "something went wrong here; tell the operator the request_id",
)


def describe(error: Exception, *, if_match: bool = False) -> Problem:
    """Return what a client is told of an error. `if_match`: the request carried that header."""
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code) or _snake(HTTPStatus(error.status_code).phrase)
        return _problem(error.status_code, code, _HTTP_DETAILS.get(code) or str(error.detail))
    if isinstance(error, RequestValidationError | WebSocketRequestValidationError):
        errors = tuple(FieldError(_place(one["loc"]), one["msg"]) for one in error.errors())
        detail = "; ".join(f"{one.field}: {one.message}" for one in errors)
        return _problem(422, "invalid", detail, errors)
    for kind in type(error).__mro__:
        if kind in TABLE:
            status, code = TABLE[kind]
            break
    else:
        return _INTERNAL
    if status == 500:
        return _INTERNAL
    if isinstance(error, VersionConflict) and if_match:
        return _problem(412, "precondition_failed", error.detail, (_field("If-Match", error),))
    if isinstance(error, Refused):
        code = error.code
        status = 422 if code in INPUT_CODES else status
        errors = () if error.field is None else (FieldError(error.field, error.detail),)
        return _problem(status, code, error.detail, errors)
    if isinstance(error, MalformedVersion):
        return _problem(status, code, str(error), (_field("X-Swarm-Version", error),))
    if isinstance(error, TierUnavailable) and not isinstance(error, RulesUnknown):
        # The message has the driver's own words, with addresses in them: not for clients.
        # Only a refusal ahead of every try is sure of its outcome; a config may be committed.
        sure = isinstance(error, ReadOnly)
        then = "nothing was changed" if sure else "try again, a write with its key or If-Match"
        return _problem(status, code, f"a store does not answer; {then}", retry_after=2)
    wait_s = error.retry_after_s if isinstance(error, Overloaded | RateLimited) else 1.0
    wait = max(1, math.ceil(wait_s)) if status in (429, 503) else None
    return _problem(status, code, str(error), retry_after=wait)


def respond(problem: Problem, request_id: str) -> Response:
    """Return the answer that carries a problem."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="swarmstate"'
    body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=request_id))
    return Response(body, problem.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application from the table."""
    for kind in (
        StateError,
        SwarmError,
        ApiError,
        RequestValidationError,
        WebSocketRequestValidationError,
        HTTPException,
        Exception,
    ):
        app.add_exception_handler(kind, _answer)  # type: ignore[arg-type]  # one for both protocols


async def _answer(connection: Request | WebSocket, error: Exception) -> Response | None:
    if_match = "if-match" in connection.headers
    problem = describe(error, if_match=if_match)
    response = respond(problem, cast("str", getattr(connection.state, "request_id", "")))
    if problem.status == 405:
        # Routing looks at one route at a time and knows the methods of that one only.
        response.headers["Allow"] = _allowed(connection.app.openapi(), connection.url.path)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
        return None
    if connection.url.path.startswith("/internal/") and isinstance(error, StateError):
        status = NOT_OWNER if isinstance(error, NotOwner) else problem.status
        return Response(encode_refusal(error), status, media_type="application/json")
    return response


def _allowed(contract: Mapping[str, Any], path: str) -> str:
    """Return the methods of a path; one without templates is matched first, as OpenAPI has it."""
    paths = contract["paths"]
    found = [path] if path in paths else [one for one in paths if _matches(one, path)]
    return ", ".join(sorted({method.upper() for one in found for method in paths[one]}))


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None


def _problem(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    retry_after: int | None = None,
) -> Problem:
    title = code.replace("_", " ").capitalize()
    return Problem(
        f"urn:swarmstate:problem:{code}",
        title,
        status,
        code,
        detail,
        errors=tuple(errors),
        retry_after=retry_after,
    )


def _field(name: str, error: Exception) -> FieldError:
    return FieldError(name, str(error))


def _place(location: Sequence[Any]) -> str:
    """Name an input: `limit` of ("query", "limit"), `If-Match` of ("header", "if-match")."""
    if location[0] == "header":
        return str(location[1]).title()
    return ".".join(str(step) for step in location[1:]) or str(location[0])


def _snake(phrase: str) -> str:
    return phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")
