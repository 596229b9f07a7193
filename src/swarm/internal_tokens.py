"""What servers show each other: short-lived tokens that no user's token can stand in for."""

from __future__ import annotations

import time

import jwt

from src.swarm.errors import NotAServer

_AUDIENCE = "swarmstate-internal"
_LIFETIME_S = 60
_REUSE_S = 30


class InternalTokens:
    """Signs and checks tokens with the secret that all servers share."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._current = ""
        self._made_at = float("-inf")

    def sign(self) -> str:
        """Return a token that is good for at least 30 s."""
        now = time.monotonic()
        if now - self._made_at > _REUSE_S:
            issued = int(time.time())
            claims = {"aud": _AUDIENCE, "iat": issued, "exp": issued + _LIFETIME_S}
            self._current = jwt.encode(claims, self._secret, algorithm="HS256")
            self._made_at = now
        return self._current

    def verify(self, token: str) -> None:
        """Accept a token of another server.

        Raises:
            NotAServer: any other token, expired ones included.
        """
        try:
            jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                leeway=5,
                options={"require": ["exp", "iat", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise NotAServer(str(error)) from error
