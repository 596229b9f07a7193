"""Users' tokens: JWT signed with HS256, claims {sub, roles, aud, iat, exp, jti}, a login's sid."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import jwt

from src.api.auth.principals import Principal, Role, principal
from src.api.errors import Unauthorized
from src.api.ids import new_id

AUDIENCE = "swarmstate"
ALGORITHM = "HS256"
CLOCKS_S = 60.0
"""How much the clocks of servers and PostgreSQL may differ."""
ELSEWHERE_S = 10.0
"""How far any other clock that stamps tokens may be ahead."""
_LATEST = 2**53
SUBJECT = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_CLAIMS = ["sub", "roles", "aud", "iat", "exp"]


def issue_token(
    secret: str,
    subject: str,
    roles: Iterable[Role],
    *,
    lifetime: timedelta = timedelta(minutes=30),
    now: float | None = None,
    session: str | None = None,
) -> str:
    """Return a token for a caller; `session` names the login that it belongs to.

    Raises:
        ValueError: a subject that is not 1 to 128 characters of `[A-Za-z0-9._:@-]`, or no role.
    """
    names = [Role(role).value for role in roles]
    if not SUBJECT.fullmatch(subject):
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
    if session is not None:
        claims["sid"] = session
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


class Tokens:
    """Verifies tokens that were signed with our own secret."""

    def __init__(self, secret: str, *, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now = now

    def verify(self, token: bytes) -> Principal:
        """Return the caller that a token names.

        Raises:
            Unauthorized: it is not good, or has expired.
        """
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                # Expiry is ours to compare: the same clock decides now and at each later use.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"the token is not valid ({error})") from error
        return _principal(claims, token, self._now())


def moments(claims: dict[str, Any], now: float, *, of_login: bool = False) -> tuple[float, float]:
    """Return when a token counts as issued, and when it expires, in seconds since 1970.

    What ends a user's tokens is compared by PostgreSQL's clock, which stamped those `of_login`. Of
    others the moment is only known to be no earlier than `ELSEWHERE_S` before.

    Raises:
        Unauthorized: these are no moments, it was issued in the future, or it has expired.
    """
    issued_at, expires_at = claims["iat"], claims["exp"]
    for moment in (issued_at, expires_at):
        # JSON has true, NaN and numbers beyond every clock's.
        if type(moment) not in (int, float) or not 0 <= moment < _LATEST:
            raise Unauthorized("the token's iat or exp is no moment")
    if issued_at > now + (CLOCKS_S if of_login else ELSEWHERE_S):
        raise Unauthorized("the token was issued in the future; see to the clocks")
    if now >= expires_at:
        raise Unauthorized("the token has expired")
    return float(issued_at) - (0.0 if of_login else ELSEWHERE_S), float(expires_at)


def signed_part(token: bytes) -> bytes:
    """Return a JWT without its signature, of which one key may make several."""
    return token.rpartition(b".")[0]


def token_id(token: bytes) -> str:
    """Name a token that has no usable id of its own."""
    return f"t-{sha256(token).hexdigest()[:32]}"


def _principal(claims: dict[str, Any], token: bytes, now: float) -> Principal:
    subject, roles = claims["sub"], claims["roles"]
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise Unauthorized("the token's subject is not an id")
    if not isinstance(roles, list):
        raise Unauthorized("the token's roles are no list")
    issued_at, expires_at = moments(claims, now, of_login="sid" in claims)
    session = claims.get("sid") or claims.get("jti")
    if not isinstance(session, str) or not SUBJECT.fullmatch(session):
        session = token_id(signed_part(token))
    known = [Role(role) for role in Role if role in roles]
    return principal(subject, known, expires_at, session=session, issued_at=issued_at)
