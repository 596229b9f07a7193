"""How often callers may ask: who is counted, under which names, and what they are told.

routes with a token     per user and per address; not bots and workers (`Right.UNMETERED`)
a token that is no good per address; a service's key that is new to a server too
signing in              per address, whoever asks
a password              per account, by those who never logged in to it from where they are; who
                        did has a count of its own there, which strangers cannot use up
what a live session     as a request
  says or commands
tokens for rooms        per address, whoever asks but bots and workers
beginning, deleting     per user, beside the above
health, the contract    never

`src/state/rates.py` counts over all servers. Reads answered ahead of routing are counted in this
process and told to Redis a moment later; one that finds no room there comes this way too.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.types import Scope

from src.api.auth.principals import Principal, Right
from src.api.errors import RateLimited
from src.api.headers import Headers
from src.api.settings import ApiSettings
from src.state.rates import Rate, Rates, Verdict
from src.swarm.shapes.commands import Command, Delete

_KNOWN = "known"
_REMEMBERED = Rate(10**9, timedelta(days=30).total_seconds())
"""How long an account's addresses are kept; nobody logs in so often that this rate refuses."""


class Metered(StrEnum):
    """What is counted on its own."""

    USER = "user"
    ADDRESS = "address"
    SIGN_IN = "sign-in"
    ACCOUNT = "account"
    BEGIN = "begin"
    DELETE = "delete"
    ENTER = "room-token"


class RateLimits:
    """The rates that the settings name; none while they are off."""

    def __init__(self, settings: ApiSettings) -> None:
        self.on = settings.limits_rates
        self._rates = {
            Metered.USER: settings.rate_user,
            Metered.ADDRESS: settings.rate_address,
            Metered.SIGN_IN: settings.rate_sign_in,
            Metered.ACCOUNT: settings.rate_account,
            Metered.BEGIN: settings.rate_begin,
            Metered.DELETE: settings.rate_delete,
            Metered.ENTER: settings.rate_token,
        }

    async def stranger(self, connection: HTTPConnection) -> None:
        """Count somebody whose token is no good, or whose key is yet to be looked up.

        Raises:
            RateLimited: too often.
        """
        if self.on:
            await self._take(connection.scope, [self._of_address(connection.scope)])

    async def caller(self, connection: HTTPConnection, caller: Principal) -> None:
        """Count a request or frame of a caller whose token is good, unless nobody counts it.

        Raises:
            RateLimited: too often.
        """
        if self.on and not caller.may(Right.UNMETERED):
            await self._take(connection.scope, self._of_caller(connection.scope, caller))

    async def one(
        self, connection: HTTPConnection, metered: Metered, caller: Principal | None
    ) -> None:
        """Count what has a rate of its own: by the caller, if there is one, else by the address.

        Raises:
            RateLimited: too often.
        """
        if not self.on or (caller is not None and caller.may(Right.UNMETERED)):
            return
        who = _address(connection.scope) if caller is None else f"user:{caller.id}"
        await self._take(connection.scope, [(f"{metered}:{who}", self._rates[metered])])

    @asynccontextmanager
    async def password(self, connection: HTTPConnection, email: str) -> AsyncIterator[None]:
        """Count a try to log in, which is made in the block, whether there is such an account or
        not. One that succeeds makes the address known to the account.

        Raises:
            RateLimited: too many tries by strangers, or too many from a known address.
        """
        if not self.on:
            yield
            return
        account = sha256(email.lower().encode()).hexdigest()[:32]
        here = f"{account}:{_address(connection.scope)}"
        rates = cast("Rates", connection.scope["state"]["rates"])
        who = here if await rates.seen(f"{_KNOWN}:{here}", _REMEMBERED) else account
        rate = self._rates[Metered.ACCOUNT]
        await self._take(connection.scope, [(f"{Metered.ACCOUNT}:{who}", rate)])
        yield
        await rates.take([(f"{_KNOWN}:{here}", _REMEMBERED)])

    async def command(
        self, connection: HTTPConnection, caller: Principal, command: Command
    ) -> None:
        """Count a command that has a rate of its own, by whichever way it came.

        Raises:
            RateLimited: too often.
        """
        if isinstance(command, Delete):
            await self.one(connection, Metered.DELETE, caller)

    def at_once(self, scope: Scope, caller: Principal) -> Headers | None:
        """Count a read without waiting; None: it is not clear here whether there is room."""
        if not self.on or caller.may(Right.UNMETERED):
            return []
        rates = cast("Rates", scope["state"]["rates"])
        verdict = rates.take_at_once(self._of_caller(scope, caller))
        return None if verdict is None else of_verdict(verdict)

    def _of_caller(self, scope: Scope, caller: Principal) -> list[tuple[str, Rate]]:
        user = (f"{Metered.USER}:{caller.id}", self._rates[Metered.USER])
        return [user, self._of_address(scope)]

    def _of_address(self, scope: Scope) -> tuple[str, Rate]:
        return f"{Metered.ADDRESS}:{_address(scope)}", self._rates[Metered.ADDRESS]

    async def _take(self, scope: Scope, wanted: Sequence[tuple[str, Rate]]) -> None:
        state = scope["state"]
        verdict = await cast("Rates", state["rates"]).take(wanted)
        # The last one counts: a route's own rate is asked after the general one.
        state["rate_headers"] = of_verdict(verdict)
        if not verdict.allowed:
            name = verdict.name.partition(":")[0]
            rate = f"{verdict.rate.count} in {verdict.rate.window_s:g} s"
            raise RateLimited(name, rate, verdict.retry_s)


def of_verdict(verdict: Verdict) -> Headers:
    """Return the headers that tell a client where it stands (draft-ietf-httpapi-ratelimit-headers).

    Only names of rates are in them, never whose.
    """
    name = verdict.name.partition(":")[0].encode()
    policy = b'"%s";q=%d;w=%d' % (name, verdict.rate.count, math.ceil(verdict.rate.window_s))
    left = b'"%s";r=%d;t=%d' % (name, verdict.remaining, math.ceil(verdict.reset_s))
    return [(b"ratelimit-policy", policy), (b"ratelimit", left)]


def rated(metered: Metered) -> Any:  # FastAPI's marker for a dependency has no public type
    """Count requests to a route that needs no token, by address."""

    async def count(connection: HTTPConnection) -> None:
        limits = cast("RateLimits", connection.app.state.rate_limits)
        await limits.one(connection, metered, None)

    return Depends(count)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return "local" if client is None else network_of(client[0])


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Return whose an address is: an IPv6 customer has a whole /64."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A socket without addresses, or what a proxy wrote instead of one: all of them are one.
        return "unknown"
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    if address.version == 6:
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
