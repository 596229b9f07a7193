"""The door: whose request this is, and whether what it shows is still good.

What was verified once is remembered. What was revoked since is refused from memory too: each server
hears of it within milliseconds, and one that may have missed something asks before it answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from src.api.auth.identity_provider import is_foreign
from src.api.auth.keys import PREFIX
from src.api.auth.principals import Principal
from src.api.auth.tokens import Tokens
from src.api.errors import Unauthorized

_KEY = PREFIX.encode()


class Revoked(Protocol):
    """What is no longer believed, as far as this server knows."""

    def certain(self) -> bool:
        """Say whether all that was revoked 2 s ago is known here."""

    def revoked(self, token_id: str, user_id: str, issued_at: float) -> bool:
        """Say whether a token is good no more."""

    async def make_certain(self) -> None:
        """Find out what was missed, if there is anybody to ask."""

    def watching(self, token_id: str, user_id: str) -> AbstractContextManager[asyncio.Future[None]]:
        """Give a future that is done when one of these is revoked; to be waited for only."""


class Verifier(Protocol):
    """Knows one sort of token."""

    async def verify(self, token: bytes) -> Principal:
        """Return the caller that a token names; raises Unauthorized when it is not good."""


class Door:
    """Tells callers by their `Authorization` header.

    A signature costs about 30 microseconds; the second request with a token costs three look-ups.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        max_remembered: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._max = max_remembered
        self._now = now
        self._known: dict[bytes, Principal] = {}
        self._revoked: Revoked | None = None
        self._keys: Verifier | None = None
        self._provider: Verifier | None = None

    def __len__(self) -> int:
        return len(self._known)

    def open(
        self, revoked: Revoked, keys: Verifier | None = None, provider: Verifier | None = None
    ) -> None:
        """Let callers in from now on: services with `keys`, and whom a `provider` vouches for."""
        self._revoked, self._keys, self._provider = revoked, keys, provider

    def known(self, authorization: bytes) -> Principal | None:
        """Return the caller of a header that was verified before and is certainly good still."""
        revoked, caller = self._revoked, self._known.get(authorization)
        if caller is None or revoked is None or not revoked.certain():
            return None
        return caller if self._is_good(caller, revoked) else None

    def admits(self, caller: Principal) -> bool:
        """Say whether a caller who was let in before may go on."""
        return self._revoked is not None and self._is_good(caller, self._revoked)

    def watching(self, caller: Principal) -> AbstractContextManager[asyncio.Future[None]]:
        """Give a future that is done when the caller may not go on, but for the token's expiry."""
        assert self._revoked is not None, "nobody is let in before `open`"
        return self._revoked.watching(caller.session, caller.id)

    def _is_good(self, caller: Principal, revoked: Revoked) -> bool:
        return self._now() < caller.expires_at and not revoked.revoked(
            caller.session, caller.id, caller.issued_at
        )

    def is_new_key(self, authorization: bytes | None) -> bool:
        """Say whether this is a service's key that PostgreSQL has to be asked about first."""
        if authorization is None or self._verified(authorization) is not None:
            return False
        return self._keys is not None and _parts(authorization)[1].startswith(_KEY)

    def _verified(self, authorization: bytes) -> Principal | None:
        caller = self._known.get(authorization)
        return None if caller is None or self._now() >= caller.expires_at else caller

    async def authenticate(self, authorization: bytes | None) -> Principal:
        """Return the caller of an `Authorization` header.

        Raises:
            Unauthorized: no such header, another scheme, or a token that is not good.
        """
        if authorization is None:
            raise Unauthorized("there is no token")
        caller = self._verified(authorization)
        if caller is None:
            scheme, token = _parts(authorization)
            if scheme != b"bearer":
                raise Unauthorized("the Authorization header is not of the scheme Bearer")
            caller = await self._verify(token)
            if authorization == b"Bearer " + token:
                # One spelling of each: with blanks one good token could fill the memory.
                self.remember(authorization, caller)
        if self._revoked is not None:
            await self._revoked.make_certain()
        if not self.admits(caller):
            raise Unauthorized("the token was revoked")
        return caller

    async def _verify(self, token: bytes) -> Principal:
        if self._keys is not None and token.startswith(_KEY):
            return await self._keys.verify(token)
        if self._provider is not None and is_foreign(token):
            return await self._provider.verify(token)
        return self._tokens.verify(token)

    def remember(self, authorization: bytes, caller: Principal) -> None:
        """Keep a caller who was verified, in place of the oldest one when there are too many."""
        if len(self._known) >= self._max:
            now = self._now()
            self._known = {
                header: one for header, one in self._known.items() if now < one.expires_at
            }
            if len(self._known) >= self._max:
                # The oldest first: dicts keep the order of arrival.
                del self._known[next(iter(self._known))]
        self._known[authorization] = caller


def _parts(authorization: bytes) -> tuple[bytes, bytes]:
    """Return the scheme, in lower case, and the token."""
    scheme, _, token = authorization.partition(b" ")
    return scheme.lower(), token.strip()
