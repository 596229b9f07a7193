"""What can go wrong, and what to do then.

SwarmstateError
├── NotAnswered             no server answered, or the connection broke
├── NotUnderstood           an answer that is none of this API
├── ChecksumMismatch        the bytes of a file are not those that were sent
└── ProblemError            a server said no (problem+json, RFC 9457)
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── NotFound            404
    ├── Conflict            409
    ├── PreconditionFailed  412
    ├── Invalid             400, 408, 413, 415, 416, 422
    └── Unavailable         429, 502, 503, 504, after the last try
        └── NotConfigured   503 `not_configured`, at once
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

_SURE = frozenset(("overloaded", "behind", "ownership_unknown", "draining", "not_configured"))
"""Codes of 503 by which a server says that it has not even begun."""
_BUSY_KEYS = frozenset(("key_in_use",))
_MOVED = frozenset(("version_conflict",))


class SwarmstateError(Exception):
    """Anything that this client raises."""

    passing = False
    """Whether the same request may be decided otherwise in a moment."""
    sure = True
    """Whether it is known that nothing was done."""


class NotAnswered(SwarmstateError):
    """No server answered. A write may have been done: repeat it with `key`."""

    passing = True

    def __init__(self, what: str, *, key: str | None = None, sure: bool = False) -> None:
        super().__init__(what)
        self.sure = sure
        self.key = key
        """The idempotency key of the write that nobody answered."""


class NotUnderstood(SwarmstateError):
    """An answer that is none of this API; look at what stands at that address."""


class ChecksumMismatch(SwarmstateError):
    """What arrived is not what was sent; nothing of it was kept."""


class ProblemError(SwarmstateError):
    """A server's no: `status`, `code`, `detail`, and `errors` with what is wrong with the input."""

    todo: ClassVar[str] = "tell the operator the request_id"

    def __init__(
        self, status: int, problem: Mapping[str, Any], *, retry_after_s: float | None = None
    ) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", ""))
        self.errors = _fields(problem.get("errors"))
        """`field` and `message` of each thing that is wrong with the input."""
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        self.unsure = False
        """An earlier try of this write was not answered: it may have been done, and be the reason
        for this answer. Read again."""
        super().__init__(status, self.code, self.detail)

    def __str__(self) -> str:
        named = f" (request_id {self.request_id})" if self.request_id else ""
        todo = "an earlier try may have done it: read again" if self.unsure else self.todo
        return f"{self.status} {self.code}: {self.detail}; {todo}{named}"


class Unauthorized(ProblemError):
    """No token, or one that is not valid any more."""

    todo = "log in again, or give the client another token"


class Forbidden(ProblemError):
    """The token's roles do not allow this."""

    todo = "use a token with the right to it"


class NotFound(ProblemError):
    """There is no such thing."""

    todo = "check the id"


class Conflict(ProblemError):
    """The present state does not allow it."""

    todo = "read again and decide"


class PreconditionFailed(ProblemError):
    """`if_match` names another version than the present one."""

    todo = "read again and decide on the present version"


class Invalid(ProblemError):
    """The input is wrong; `errors` names the fields."""

    todo = "repair what `errors` names"


class Unavailable(ProblemError):
    """Not now; every try was answered so."""

    todo = "try again later"


class NotConfigured(Unavailable):
    """The servers were started without what this needs."""

    todo = "the operator has to set what the detail names"


_BY_STATUS: Mapping[int, type[ProblemError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Invalid,
    409: Conflict,
    412: PreconditionFailed,
    413: Invalid,
    415: Invalid,
    416: Invalid,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def problem(
    status: int, body: Mapping[str, Any], *, retry_after_s: float | None = None
) -> ProblemError:
    """Return the error for an answer."""
    code = body.get("code")
    kind = _BY_STATUS.get(status, ProblemError)
    if kind is Unavailable and code == "not_configured":
        kind = NotConfigured
    error = kind(status, body, retry_after_s=retry_after_s)
    # A key is in use while the first request with it is answered, and a write without `if_match`
    # that another one overtook is decided anew: both are the servers' business, not the caller's.
    error.passing = kind is Unavailable or (status == 409 and code in _BUSY_KEYS | _MOVED)
    error.sure = status < 500 or code in _SURE
    return error


def _fields(errors: object) -> tuple[Mapping[str, str], ...]:
    given = errors if isinstance(errors, Sequence) and not isinstance(errors, str) else ()
    return tuple(one for one in given if isinstance(one, Mapping))
