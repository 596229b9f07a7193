"""Tokens of an identity provider: JWTs that it signed, checked with the keys it publishes (JWKS).

Which key may check a token follows from the key, never from the token: an asymmetric algorithm of a
list, the one that the key is for. A token signed with HS256 is never looked at here, so nobody can
pass a public key off as a secret (RFC 8725, section 3.1).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog

from src.api.auth.principals import Principal, Role, principal
from src.api.auth.tokens import SUBJECT, moments, signed_part, token_id
from src.api.errors import IdentityProviderAway, Unauthorized
from src.api.settings import ApiSettings
from src.state.reads.single_flight import SingleFlight
from src.state.records.users import Users

log = structlog.get_logger(__name__)

ALGORITHMS = frozenset(("RS256", "ES256", "EdDSA"))
_HASHED = "idp-"
_CLAIMS = ["sub", "iss", "aud", "iat", "exp"]
_PATIENCE = aiohttp.ClientTimeout(total=5)
_MAX_BYTES = 262_144
_MAX_KEYS = 100
_STALE_S = 3600.0
_AGAIN_S = 10.0
"""Unknown keys are asked for this often at most: tokens that name them cost nothing to make."""

Fetch = Callable[[], Awaitable[bytes]]


def is_foreign(token: bytes) -> bool:
    """Say whether a token claims to be signed with an asymmetric key."""
    try:
        alg = jwt.get_unverified_header(token).get("alg")
    except jwt.InvalidTokenError:
        return False
    return isinstance(alg, str) and alg in ALGORITHMS


class IdentityProvider:
    """Verifies tokens of one provider. `is_shut_out` says whether we want no more of a subject."""

    def __init__(
        self,
        settings: ApiSettings,
        is_shut_out: Callable[[str], Awaitable[bool]],
        fetch: Fetch,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer, self._audience = settings.jwks_issuer, settings.jwks_audience
        self._claim = settings.jwks_roles_claim.split(".")
        self._mapping = names_of_roles(settings.jwks_roles)
        self._is_shut_out = is_shut_out
        self._fetch = fetch
        self._now = now
        self._monotonic = monotonic
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._tried = self._fetched = float("-inf")
        self._flights: SingleFlight[None] = SingleFlight()

    async def verify(self, token: bytes) -> Principal:
        """Return the caller that a token names.

        Raises:
            Unauthorized: it is not good, has expired, or we want no more of its subject.
            IdentityProviderAway: the key to check it with cannot be had now.
            DurableTierUnavailable: whether we want no more of its subject cannot be had now.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if header.get("alg") != key.algorithm_name:
                raise Unauthorized("the token is signed in a way that its key is not for")
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                # Expiry is ours to compare, as with tokens of our own.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"the token is not valid ({error})") from error
        caller = self._principal(claims, token)
        if await self._is_shut_out(caller.id):
            raise Unauthorized("this user may not come in")
        return caller

    def _principal(self, claims: dict[str, Any], token: bytes) -> Principal:
        issued_at, expires_at = moments(claims, self._now())
        return principal(
            subject_of(claims["sub"]),
            roles_of(claims, self._claim, self._mapping),
            expires_at,
            session=token_id(signed_part(token)),
            issued_at=issued_at,
        )

    async def _key(self, kid: object) -> jwt.PyJWK:
        name = kid if isinstance(kid, str) else None
        since = self._monotonic() - self._fetched
        if name not in self._keys or since > _STALE_S:
            await self._refresh()
        key = self._keys.get(name)
        if key is None:
            if self._fetched == float("-inf"):
                raise IdentityProviderAway("the keys of the identity provider cannot be had now")
            raise Unauthorized("the token names a key that the identity provider does not publish")
        return key

    async def _refresh(self) -> None:
        if self._monotonic() - self._tried >= _AGAIN_S:
            await self._flights.do("keys", self._load)

    async def _load(self) -> None:
        self._tried = self._monotonic()
        try:
            self._keys = read_keys(await self._fetch())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, jwt.PyJWTError) as error:
            # What was published before has to do until the next try.
            log.warning("jwks.unavailable", error=type(error).__name__)
            return
        self._fetched = self._tried

    async def aclose(self) -> None:
        await self._flights.aclose()


def read_keys(body: bytes) -> dict[str | None, jwt.PyJWK]:
    """Return the usable keys of a JWKS by their `kid`; under None the only one, if there is one.

    Raises:
        ValueError: not a JWKS.
    """
    try:
        document = msgspec.json.decode(body)
    except RecursionError as error:
        raise ValueError("not a JWKS: nested too deeply") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JWKS")
    found: dict[str | None, jwt.PyJWK] = {}
    for one in listed[:_MAX_KEYS]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(one)
        except (jwt.PyJWTError, ValueError, TypeError):
            # A provider may publish keys of kinds that nobody here can use.
            continue
        if key.algorithm_name in ALGORITHMS and isinstance(key.key_id, str | None):
            found[key.key_id] = key
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def subject_of(claim: object) -> str:
    """Return the id of a provider's user; one that is no id here is named by its hash."""
    if not isinstance(claim, str) or not claim:
        raise Unauthorized("the token's subject is not a text")
    if SUBJECT.fullmatch(claim) and not claim.startswith(_HASHED):
        return claim
    # One that looks like the hash of another's is hashed too: else it would be that one.
    return _HASHED + token_id(claim.encode(errors="surrogatepass"))


def names_of_roles(pairs: Iterable[str]) -> dict[str, Role]:
    """Read `theirs=ours` pairs; without any the names are the same."""
    named = {theirs: Role(ours) for theirs, _, ours in (one.rpartition("=") for one in pairs)}
    return named or {role.value: role for role in Role}


def roles_of(
    claims: dict[str, Any], path: Iterable[str], mapping: dict[str, Role]
) -> tuple[Role, ...]:
    """Return the roles that the claim at a path gives; the others it names are none of ours."""
    found: Any = claims
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    names = found.split() if isinstance(found, str) else found
    if not isinstance(names, list):
        return ()
    given = {mapping[name] for name in names if isinstance(name, str) and name in mapping}
    return tuple(role for role in Role if role in given)


def fetching(url: str, http: aiohttp.ClientSession) -> Fetch:
    """Return a way to get the published keys: no redirects, bounded in time and size."""

    async def fetch() -> bytes:
        async with http.get(
            url, timeout=_PATIENCE, allow_redirects=False, raise_for_status=True
        ) as answer:
            body = await answer.content.read(_MAX_BYTES + 1)
            while len(body) <= _MAX_BYTES and (more := await answer.content.read(_MAX_BYTES)):
                body += more
            if len(body) > _MAX_BYTES or answer.status != 200:
                raise ValueError("no JWKS")
            return body

    return fetch


@asynccontextmanager
async def open_provider(
    settings: ApiSettings, users: Users
) -> AsyncIterator[IdentityProvider | None]:
    """Open the provider that the settings name, for the length of the block; None for none."""
    if settings.jwks_url is None:
        yield None
        return

    async def is_shut_out(subject: str) -> bool:
        # While PostgreSQL is away nobody knows: as with logins of our own, none begins then.
        user = await users.get(subject)
        return user is not None and user.status != "active"

    async with aiohttp.ClientSession() as http:
        provider = IdentityProvider(settings, is_shut_out, fetching(settings.jwks_url, http))
        try:
            yield provider
        finally:
            await provider.aclose()
