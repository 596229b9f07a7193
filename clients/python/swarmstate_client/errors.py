"""What can go wrong.

SwarmstateError
    NotAnswered             no server answered, or the connection broke
    ProblemError            a server said no
        Unauthorized        401
        Forbidden           403
        NotFound            404
        Conflict            409
        PreconditionFailed  412
        Invalid             413, 422
        Unavailable         429, 503, after the last try
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SwarmstateError(Exception):
    """Anything that this client raises."""


class NotAnswered(SwarmstateError):
    """No server answered; a write may have been done: the same call again has another key."""


class ProblemError(SwarmstateError):
    """A problem+json answer (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", ""))
        self.errors: tuple[Mapping[str, str], ...] = tuple(problem.get("errors", ()))
        """`field` and `message` of each thing that is wrong with the input."""
        self.request_id = str(problem.get("request_id", ""))
        super().__init__(f"{status} {self.code}: {self.detail}")


class Unauthorized(ProblemError):
    """No token, or one that is not valid any more."""


class Forbidden(ProblemError):
    """The token's roles do not allow this."""


class NotFound(ProblemError):
    """There is no such thing."""


class Conflict(ProblemError):
    """The present state does not allow it."""


class PreconditionFailed(ProblemError):
    """`if_match` names another version than the present one."""


class Invalid(ProblemError):
    """The input is wrong; `errors` names the fields."""


class Unavailable(ProblemError):
    """Not now; every try was answered so."""


_BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: Invalid,
    422: Invalid,
    429: Unavailable,
    503: Unavailable,
}


def problem(status: int, body: Mapping[str, Any]) -> ProblemError:
    """Return the error for an answer."""
    return _BY_STATUS.get(status, ProblemError)(status, body)
