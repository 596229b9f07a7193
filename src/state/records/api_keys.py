"""Keys of services: what bots, workers and tools show instead of a login. Only hashes are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.errors import NotFound
from src.state.protocols import Trip, open_way
from src.state.records.revocations import Revocations
from src.state.tiers.engine import answering, fetch
from src.state.tiers.tables import api_keys

FOR_EVER = 253_402_300_799
"""The last second of the year 9999: when a key without an end has expired."""


class ApiKey(msgspec.Struct, frozen=True, gc=False):
    """One key, without the key itself."""

    id: str
    name: str
    """Who its bearer is; several keys of one service have the same."""
    roles: tuple[str, ...]
    hint: str
    """How the key ends."""
    created_by: str
    created_at: datetime
    expires_at: datetime | None

    @property
    def until(self) -> int:
        """When it has expired, in seconds since 1970."""
        return FOR_EVER if self.expires_at is None else int(self.expires_at.timestamp())


_COLUMNS = [api_keys.c[name] for name in ApiKey.__struct_fields__]


class ApiKeys:
    """The table. Every method raises DurableTierUnavailable when PostgreSQL does not answer."""

    def __init__(
        self, engine: AsyncEngine, revocations: Revocations, *, way: Trip = open_way
    ) -> None:
        self._engine = engine
        self._revocations = revocations
        self._way = way

    async def add(
        self,
        id: str,
        name: str,
        roles: Sequence[str],
        hash: bytes,
        hint: str,
        created_by: str,
        expires_at: datetime | None,
    ) -> ApiKey:
        """Keep a key."""
        made = insert(api_keys).values(
            id=id,
            name=name,
            roles=list(roles),
            hash=hash,
            hint=hint,
            created_by=created_by,
            expires_at=expires_at,
        )
        with answering():
            async with self._way(), self._engine.begin() as connection:
                row = (await connection.execute(made.returning(*_COLUMNS))).mappings().one()
        return _key(row)

    async def find(self, hash: bytes) -> ApiKey | None:
        """Return the key with this hash, an expired one too."""
        rows = await fetch(
            self._engine, select(*_COLUMNS).where(api_keys.c.hash == hash), self._way
        )
        return _key(rows[0]) if rows else None

    async def list(self, after: str, limit: int) -> Sequence[ApiKey]:
        """Return keys with id > `after`, in order of id."""
        query = select(*_COLUMNS).where(api_keys.c.id > after).order_by(api_keys.c.id)
        return [_key(row) for row in await fetch(self._engine, query.limit(limit), self._way)]

    async def delete(self, id: str) -> ApiKey:
        """Delete a key; no server takes it any more.

        Raises:
            NotFound: there is none.
        """
        gone = delete(api_keys).where(api_keys.c.id == id).returning(*_COLUMNS)
        async with self._revocations.transaction() as revoking:
            row = (await revoking.connection.execute(gone)).mappings().one_or_none()
            if row is None:
                raise NotFound("API key", id)
            key = _key(row)
            # Servers remember keys without asking again, so this is remembered as long.
            await revoking.token(id, key.until)
            return key


def _key(row: Any) -> ApiKey:
    fields = {name: row[name] for name in ApiKey.__struct_fields__}
    return ApiKey(**fields | {"roles": tuple(row["roles"])})
