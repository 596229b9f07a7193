"""Keys of services: made by administrators, shown once, good until they are deleted or expire."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import structlog

from src.api.auth.forms import KeyInfo, KeyMade, NewKey
from src.api.auth.principals import Principal, Role, principal
from src.api.errors import Unauthorized
from src.api.ids import new_id
from src.state.errors import Refused
from src.state.records.api_keys import ApiKey, ApiKeys

log = structlog.get_logger(__name__)

PREFIX = "ssk_"
_ID_PREFIX = "key-"
_HINT_CHARS = 4


class ServiceKeys:
    """Makes keys, and tells who shows one."""

    def __init__(self, keys: ApiKeys, *, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._now = now

    async def verify(self, key: bytes) -> Principal:
        """Return whose key this is.

        Raises:
            Unauthorized: unknown, deleted or expired.
        """
        # 256 bits of chance need no slow hash, and a look-up by hash tells nothing by its time.
        found = await self._keys.find(sha256(key).digest())
        if found is None or self._now() >= found.until:
            raise Unauthorized("the API key is unknown, deleted or expired")
        return principal(
            found.name,
            [Role(role) for role in found.roles],
            float(found.until),
            session=found.id,
            issued_at=found.created_at.timestamp(),
        )

    async def make(self, caller: Principal, given: NewKey) -> KeyMade:
        """Make a key; this is the only time that it is shown.

        Raises:
            Refused: it would have expired already.
        """
        if given.expires_at is not None and given.expires_at <= datetime.now(UTC):
            detail = "expires_at is not in the future; leave it out for a key without an end"
            raise Refused("expired", detail, field="expires_at")
        key = PREFIX + secrets.token_urlsafe(32)
        made = await self._keys.add(
            _ID_PREFIX + new_id(),
            given.name,
            [role.value for role in dict.fromkeys(given.roles)],
            sha256(key.encode()).digest(),
            key[-_HINT_CHARS:],
            caller.id,
            given.expires_at,
        )
        log.info("api_key.made", key=made.id, name=made.name, by=caller.id)
        return KeyMade(key, _shown(made))

    async def list(self, cursor: str | None, limit: int) -> tuple[Sequence[KeyInfo], str | None]:
        """Return keys in order of id, and the cursor of the next page."""
        found = await self._keys.list(cursor or "", limit)
        return [_shown(key) for key in found], found[-1].id if len(found) == limit else None

    async def delete(self, caller: Principal, id: str) -> None:
        """End a key on every server.

        Raises:
            NotFound: there is none.
        """
        gone = await self._keys.delete(id)
        log.info("api_key.deleted", key=id, name=gone.name, by=caller.id)


def is_of_key(caller: Principal) -> bool:
    """Say whether a caller showed a key."""
    return caller.session.startswith(_ID_PREFIX)


def _shown(key: ApiKey) -> KeyInfo:
    return KeyInfo(
        key.id,
        key.name,
        key.roles,
        f"{PREFIX}...{key.hint}",
        key.created_by,
        key.created_at,
        key.expires_at,
    )
