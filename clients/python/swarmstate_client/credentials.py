"""Who asks: a token, a function that gives one, or a login that renews itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from swarmstate_client.asks import Ask, Send, at
from swarmstate_client.decoding import read
from swarmstate_client.errors import NotAnswered, Unauthorized, Unavailable

_AGAIN_S = 10.0
"""After a renewal that no server could do, while the present token is still good."""


class Credentials(Protocol):
    """Gives the token of each request."""

    async def token(self, send: Send) -> str:
        """Return the token to send now; `send` asks a server once, without any token.

        Raises:
            SwarmstateError: none can be had.
        """

    def refused(self, token: str) -> bool:
        """Hear that a server took this one no more; return whether another may be had."""


class Fixed:
    """One token, or one API key, for good."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, send: Send) -> str:
        """Return it."""
        return self._token

    def refused(self, token: str) -> bool:
        """There is no other one."""
        return False


class Given:
    """A function of the caller's that knows the token of the moment."""

    def __init__(self, give: Callable[[], Awaitable[str]]) -> None:
        self._give = give

    async def token(self, send: Send) -> str:
        """Ask it."""
        return await self._give()

    def refused(self, token: str) -> bool:
        """It may know a newer one."""
        return True


@dataclass(frozen=True, slots=True)
class _Session:
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    renew_at: float
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoggedIn:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


class Login:
    """Email and password. Logs in at the first request, and renews before the token expires.

    While no server can renew, a token that is still good is used on. `early_s`: how long before
    its end a token is renewed; for short-lived ones at half their time.
    """

    def __init__(
        self,
        email: str,
        password: str,
        *,
        early_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.email = email
        self._password = password
        self._early_s = early_s
        self._clock = clock
        self._session: _Session | None = None
        self._renewing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Login({self.email!r}, '***')"

    async def token(self, send: Send) -> str:
        """Return a token that is good for a while.

        Raises:
            Unauthorized: email and password let nobody in. NotAnswered, Unavailable: not now.
        """
        async with self._renewing:
            now = self._clock()
            if self._session is None or now >= self._session.renew_at:
                self._session = await self._renewed(send, now)
            return self._session.access_token

    def refused(self, token: str) -> bool:
        """Log in anew, unless that has happened since."""
        if self._session is not None and self._session.access_token == token:
            self._session = None
        return True

    def forget(self) -> None:
        """Forget the tokens: the next request logs in again."""
        self._session = None

    async def _renewed(self, send: Send, now: float) -> _Session:
        old = self._session
        try:
            if old is not None and old.refresh_token is not None:
                try:
                    return await self._ask(send, "refresh", {"refresh_token": old.refresh_token})
                except Unauthorized:
                    pass
            return await self._ask(send, "login", {"email": self.email, "password": self._password})
        except (NotAnswered, Unavailable):
            if old is None or now >= old.ends_at:
                raise
            # Sent again later, a refresh token that was used after all would end the session.
            renew_at = min(now + _AGAIN_S, old.ends_at)
            return _Session(old.access_token, None, renew_at, old.ends_at)

    async def _ask(self, send: Send, what: str, body: dict[str, str]) -> _Session:
        ask = Ask(method="POST", path=at(f"/auth/{what}"), body=body, public=True)
        asked_at = self._clock()
        found = read(_LoggedIn, (await send(ask)).body, f"answer to {ask}")
        early_s = min(self._early_s, found.expires_in / 2)
        ends_at = asked_at + found.expires_in
        return _Session(found.access_token, found.refresh_token, ends_at - early_s, ends_at)


Token = str | Callable[[], Awaitable[str]] | Login


def credentials_of(token: Token) -> Credentials:
    """Return what the client asks for the token of each request."""
    if isinstance(token, Login):
        return token
    return Fixed(token) if isinstance(token, str) else Given(token)
