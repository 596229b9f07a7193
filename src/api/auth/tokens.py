"""Users' tokens: JWT signed with HS256, claims {sub, roles, aud, iat, exp, jti}."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import jwt

from src.api.auth.principals import Principal, Role, principal
from src.api.errors import Unauthorized
from src.api.ids import new_id

AUDIENCE = "swarmstate"
_ALGORITHM = "HS256"
_SUBJECT = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_CLAIMS = ["sub", "roles", "aud", "iat", "exp"]


def issue_token(
    secret: str,
    subject: str,
    roles: Iterable[Role],
    *,
    lifetime: timedelta = timedelta(minutes=30),
    now: float | None = None,
) -> str:
    """Return a token for a caller.

    Raises:
        ValueError: a subject that is not 1 to 128 characters of `[A-Za-z0-9._:@-]`, or no role.
    """
    names = [Role(role).value for role in roles]
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"subject {subject!r}: use 1 to 128 characters of [A-Za-z0-9._:@-]")
    if not names:
        raise ValueError(f"name at least one role of {', '.join(Role)}")
    issued = int(time.time() if now is None else now)
    claims = {
        "sub": subject,
        "roles": names,
        "aud": AUDIENCE,
        "iat": issued,
        "exp": issued + int(lifetime.total_seconds()),
        "jti": new_id(),
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


class Tokens:
    """Verifies `Authorization` headers and remembers the good ones until they expire.

    A signature costs about 30 microseconds; the second request with a token costs a lookup.
    """

    def __init__(
        self, secret: str, *, max_remembered: int = 10_000, now: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._max = max_remembered
        self._now = now
        self._known: dict[bytes, Principal] = {}

    def __len__(self) -> int:
        return len(self._known)

    def known(self, authorization: bytes) -> Principal | None:
        """Return the caller of a header that was verified before and has not expired."""
        found = self._known.get(authorization)
        return found if found is not None and self._now() < found.expires_at else None

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Return the caller of an `Authorization` header.

        Raises:
            Unauthorized: no such header, another scheme, or a token that is not good.
        """
        if authorization is None:
            raise Unauthorized("there is no token")
        found = self.known(authorization)
        if found is not None:
            return found
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized("the Authorization header is not of the scheme Bearer")
        caller = self._verify(token.strip())
        self._remember(authorization, caller)
        return caller

    def _verify(self, token: bytes) -> Principal:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                # Expiry is ours to compare: the same clock decides now and at each later use.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"the token is not valid ({error})") from error
        caller = _principal(claims)
        if self._now() >= caller.expires_at:
            raise Unauthorized("the token has expired")
        return caller

    def _remember(self, authorization: bytes, caller: Principal) -> None:
        if len(self._known) >= self._max:
            now = self._now()
            self._known = {
                header: one for header, one in self._known.items() if now < one.expires_at
            }
            if len(self._known) >= self._max:
                # The oldest first: dicts keep the order of arrival.
                del self._known[next(iter(self._known))]
        self._known[authorization] = caller


def _principal(claims: dict[str, Any]) -> Principal:
    subject, roles, expires_at = claims["sub"], claims["roles"], claims["exp"]
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise Unauthorized("the token's subject is not an id")
    if not isinstance(roles, list) or not isinstance(expires_at, int | float):
        raise Unauthorized("the token's claims are of the wrong type")
    known = [Role(role) for role in Role if role in roles]
    return principal(subject, known, float(expires_at))
