"""Users: who may come in, as what, and what they told about themselves.

A row is made by registration, by an administrator, or by whoever an identity provider vouches for
and keeps a profile here. Rows stay when a user is deleted, emptied, so that ids are not used twice
and `not_before` goes on to count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from src.state.errors import NotFound, StateError
from src.state.protocols import Trip, open_way
from src.state.records.revocations import Revocations
from src.state.tiers.engine import answering, fetch
from src.state.tiers.tables import refresh_tokens, users

Status = Literal["active", "disabled", "deleted"]

NO_PROFILE = b"{}"


class UserExists(StateError):
    """There is a user with this email already."""

    def __init__(self) -> None:
        super().__init__("there is a user with this email already; log in, or use another one")


class User(msgspec.Struct, frozen=True, gc=False):
    """One row without its password."""

    id: str
    email: str | None
    """Lower case; None for those who come by an identity provider."""
    name: str
    roles: tuple[str, ...]
    status: Status
    profile: bytes
    """A JSON object."""
    version: int
    """Counts changes, from 1."""
    not_before: int
    """Tokens issued up to this second are good no more; by PostgreSQL's clock, 0 at first."""
    created_at: datetime
    updated_at: datetime


Change = Callable[[User], User]
"""Pure: gives the user as it shall be; may refuse by raising, then nothing is written."""

_COLUMNS = [users.c[name] for name in User.__struct_fields__]
_NOW = cast(func.extract("epoch", func.clock_timestamp()), BigInteger)


class Users:
    """The table. Every method raises DurableTierUnavailable when PostgreSQL does not answer."""

    def __init__(
        self, engine: AsyncEngine, revocations: Revocations, *, way: Trip = open_way
    ) -> None:
        self._engine = engine
        self._revocations = revocations
        self._way = way

    async def add(
        self, id: str, email: str | None, name: str, roles: Sequence[str], password: str | None
    ) -> User:
        """Make a user; `password` is a hash.

        Raises:
            UserExists: the email is taken.
        """
        row = upsert(users).values(
            id=id,
            email=email,
            name=name,
            roles=list(roles),
            status="active",
            password=password,
            profile=NO_PROFILE,
            version=1,
        )
        made = row.on_conflict_do_nothing().returning(*_COLUMNS)
        with answering():
            async with self._way(), self._engine.begin() as connection:
                found = (await connection.execute(made)).mappings().one_or_none()
        if found is None:
            raise UserExists
        return _user(found)

    async def get(self, id: str) -> User | None:
        """Return a user, deleted ones included; None: there never was one."""
        rows = await fetch(self._engine, select(*_COLUMNS).where(users.c.id == id), self._way)
        return _user(rows[0]) if rows else None

    async def by_email(self, email: str) -> tuple[User, str | None] | None:
        """Return the user with this email, and the hash of the password."""
        query = select(*_COLUMNS, users.c.password).where(users.c.email == email)
        rows = await fetch(self._engine, query, self._way)
        return (_user(rows[0]), rows[0]["password"]) if rows else None

    async def list(self, after: str, limit: int, email: str | None = None) -> Sequence[User]:
        """Return users with id > `after`, in order of id, without the deleted ones."""
        query = select(*_COLUMNS).where(users.c.id > after, users.c.status != "deleted")
        if email is not None:
            query = query.where(users.c.email == email)
        rows = await fetch(self._engine, query.order_by(users.c.id).limit(limit), self._way)
        return [_user(row) for row in rows]

    async def set_password(self, id: str, old: str, new: str) -> None:
        """Replace the hash of a password that did not change meanwhile."""
        changed = update(users).where(users.c.id == id, users.c.password == old)
        with answering():
            async with self._way(), self._engine.begin() as connection:
                await connection.execute(changed.values(password=new))

    async def change(self, id: str, change: Change, *, first: User | None = None) -> User:
        """Commit the next version of a user, of what is the user's own: name and profile.

        Raises:
            NotFound: there is none and no `first`, which is then the row to begin with.
        """
        with answering():
            async with self._way(), self._engine.begin() as connection:
                present = await _locked(connection, id, first)
                return await _write(connection, change(present))

    async def govern(self, id: str, change: Change) -> User:
        """The same for roles and status: whoever loses or gains some has to log in again.

        Raises:
            NotFound: there is none.
        """
        async with self._revocations.transaction() as revoking:
            connection = revoking.connection
            present = await _locked(connection, id)
            changed = change(present)
            if (changed.roles, changed.status) != (present.roles, present.status):
                not_before = await _end_sessions(connection, present)
                await revoking.user(id, not_before)
                changed = msgspec.structs.replace(changed, not_before=not_before)
            return await _write(connection, changed)

    async def end_sessions(self, id: str, *, first: User | None = None) -> None:
        """End all that a user is logged in to, and all tokens in this name issued so far.

        Raises:
            NotFound: there is none and no `first`.
        """
        async with self._revocations.transaction() as revoking:
            connection = revoking.connection
            present = await _locked(connection, id, first)
            not_before = await _end_sessions(connection, present)
            changed = update(users).where(users.c.id == id).values(not_before=not_before)
            await connection.execute(changed)
            await revoking.user(id, not_before)


async def lock_for_token(connection: AsyncConnection, id: str) -> tuple[User, int] | None:
    """Return a user whose row nobody changes until the end of the transaction, and a moment.

    The moment, in seconds by PostgreSQL's clock, is when a token issued now counts as issued: later
    than whatever ended the user's tokens so far.
    """
    query = select(*_COLUMNS, _NOW.label("now")).where(users.c.id == id)
    row = (await connection.execute(query.with_for_update(read=True))).mappings().one_or_none()
    if row is None:
        return None
    found = _user(row)
    return found, max(row["now"], found.not_before + 1)


async def _end_sessions(connection: AsyncConnection, user: User) -> int:
    """End what a user, whose row is locked, is logged in to; return the new `not_before`."""
    now = (await connection.execute(select(_NOW))).scalar_one()
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.user_id == user.id))
    # Beyond tokens that were issued in this second, after an earlier end.
    return max(int(now), user.not_before + 1)


async def _locked(connection: AsyncConnection, id: str, first: User | None = None) -> User:
    """Return a user whose row is ours until the end of the transaction; `first` makes a row."""
    if first is not None:
        await connection.execute(_first_row(first))
    query = select(*_COLUMNS).where(users.c.id == id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["status"] == "deleted":
        raise NotFound("user", id)
    return _user(row)


async def _write(connection: AsyncConnection, user: User) -> User:
    values: dict[str, Any] = {
        name: getattr(user, name) for name in ("email", "name", "status", "profile", "not_before")
    }
    if user.status == "deleted":
        values["password"] = None
    changed = (
        update(users)
        .where(users.c.id == user.id)
        .values(
            **values, roles=list(user.roles), version=users.c.version + 1, updated_at=func.now()
        )
        .returning(*_COLUMNS)
    )
    return _user((await connection.execute(changed)).mappings().one())


def _first_row(user: User) -> Any:
    row = upsert(users).values(
        id=user.id,
        name=user.name,
        roles=list(user.roles),
        status=user.status,
        profile=user.profile,
        version=0,
    )
    return row.on_conflict_do_nothing()


def _user(row: Any) -> User:
    fields = {name: row[name] for name in User.__struct_fields__}
    return User(**fields | {"roles": tuple(row["roles"])})
