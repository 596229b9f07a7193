"""Sessions: what a login began, and the refresh tokens that carry it on.

A refresh token is good once; the one that replaces it belongs to the same session. Only hashes are
kept. One that comes back long after it was replaced was stolen from the user, or by the user's own
device from a backup: nobody can tell who is who, so the session ends (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from src.state.protocols import Trip, open_way
from src.state.records.revocations import Revocations, remove
from src.state.records.users import User, lock_for_token
from src.state.tiers.engine import answering
from src.state.tiers.tables import refresh_tokens, users

GRACE = timedelta(seconds=10)
"""How long a replaced token may come again: its answer may have been lost on the way."""

Finding = Literal["good", "expired", "reused"]


class Begun(msgspec.Struct, frozen=True, gc=False):
    """A session for which a token is to be issued, and when it counts as issued."""

    session_id: str
    user: User
    issued_at: int


def judge(expires_at: datetime, replaced_at: datetime | None, now: datetime) -> Finding:
    """Say what a refresh token is worth."""
    if now >= expires_at:
        return "expired"
    return "good" if replaced_at is None or now - replaced_at < GRACE else "reused"


class Sessions:
    """The refresh tokens. Every method raises DurableTierUnavailable without an answer."""

    def __init__(
        self, engine: AsyncEngine, revocations: Revocations, *, way: Trip = open_way
    ) -> None:
        self._engine = engine
        self._revocations = revocations
        self._way = way

    async def begin(
        self, session_id: str, user_id: str, version: int, hash: bytes, lifetime: timedelta
    ) -> Begun | None:
        """Begin a session of a user who is active and still of this version; else None."""
        with answering():
            async with self._way(), self._engine.begin() as connection:
                found = await lock_for_token(connection, user_id)
                if found is None or found[0].status != "active" or found[0].version != version:
                    return None
                await connection.execute(_token(hash, session_id, user_id, func.now() + lifetime))
                return Begun(session_id, *found)

    async def carry_on(self, hash: bytes, successor: bytes, until: int) -> Begun | None:
        """Replace a refresh token by its successor; None when it is not good.

        One that was used before ends its session, and with it access tokens, which expire by
        `until` (seconds since 1970).
        """
        with answering():
            async with self._way(), self._engine.begin() as connection:
                found = await self._replace(connection, hash, successor)
        if isinstance(found, str):
            await self.end(found, until)
            return None
        return found

    async def _replace(
        self, connection: AsyncConnection, hash: bytes, successor: bytes
    ) -> Begun | str | None:
        """Return the session; only its id when the token was used before; None for no good one."""
        mine = refresh_tokens.c.hash == hash
        owner = select(refresh_tokens.c.user_id).where(mine)
        user_id = (await connection.execute(owner)).scalar_one_or_none()
        # The user's row before the token's: the order in which sessions are ended.
        found = None if user_id is None else await lock_for_token(connection, user_id)
        if found is None or found[0].status != "active":
            return None
        query = select(refresh_tokens, func.now().label("now")).where(mine).with_for_update()
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        session_id: str = row["session_id"]
        finding = judge(row["expires_at"], row["replaced_at"], row["now"])
        if finding != "good":
            return session_id if finding == "reused" else None
        replaced = update(refresh_tokens).where(mine, refresh_tokens.c.replaced_at.is_(None))
        await connection.execute(replaced.values(replaced_at=func.now()))
        await connection.execute(_token(successor, session_id, found[0].id, row["expires_at"]))
        return Begun(session_id, *found)

    async def end(self, session_id: str, until: int) -> None:
        """End one session: its refresh tokens, and its access tokens, which expire by `until`.

        `until` in seconds since 1970. A token that belongs to no session is ended by its own id.
        """
        async with self._revocations.transaction() as revoking:
            mine = refresh_tokens.c.session_id == session_id
            # The user's row before the tokens: a refresh under way commits a successor that only a
            # later statement than the one that waited for it can see.
            owner = select(refresh_tokens.c.user_id).where(mine)
            await revoking.connection.execute(
                select(users.c.id).where(users.c.id.in_(owner)).with_for_update()
            )
            await revoking.connection.execute(delete(refresh_tokens).where(mine))
            await revoking.token(session_id, until)

    async def purge(self) -> int:
        """Remove refresh tokens that have expired; return how many."""
        expired = refresh_tokens.c.expires_at < func.now()
        return await remove(self._engine, self._way, refresh_tokens, expired)


def _token(hash: bytes, session_id: str, user_id: str, expires_at: Any) -> Any:
    return insert(refresh_tokens).values(
        hash=hash, session_id=session_id, user_id=user_id, expires_at=expires_at
    )
