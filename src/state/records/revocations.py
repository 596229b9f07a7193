"""What is no longer believed: tokens that were logged out, and all that a user got before a moment.

The truth is L3. Every server keeps the whole of it in memory, so a request costs two look-ups and
no trip; what is new comes the way that changes of configs do, through the outbox (I12), within
milliseconds. The version of such an announcement is its meaning: until when a revoked token has to
be remembered, or up to which second the tokens of a user are old. So it is in force as it is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from sqlalchemy import Table, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.buffers import Buffer
from src.state.errors import DurableTierUnavailable, Overloaded
from src.state.models import Announcement
from src.state.protocols import Clock, Trip, open_way
from src.state.reads.single_flight import SingleFlight
from src.state.records.edits import Edit, Edits
from src.state.tiers.engine import answering
from src.state.tiers.memory import Lease
from src.state.tiers.tables import revoked_tokens, users

REVOKED_TOKEN = "revoked_token"  # noqa: S105  # the name of a kind
REVOKED_USER = "revoked_user"
KINDS = frozenset((REVOKED_TOKEN, REVOKED_USER))
"""Kinds of announcements; no config has one of these names."""

_MAX = 500_000
"""Entries of either sort; about 100 bytes each."""
_SWEEP = 1_000


class Revoking:
    """An edit that may revoke."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.connection = edit.connection

    async def token(self, id: str, until: int) -> None:
        """Revoke what carries this id; `until`, in seconds since 1970, it has expired by itself."""
        row = upsert(revoked_tokens).values(id=id, until=until)
        newer = {"until": func.greatest(revoked_tokens.c.until, row.excluded.until)}
        await self.connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=newer))
        await self._edit.announce(REVOKED_TOKEN, id, until)

    async def user(self, id: str, not_before: int) -> None:
        """Announce the `not_before` of a user's row: tokens issued up to it are good no more."""
        await self._edit.announce(REVOKED_USER, id, not_before)


class Revocations:
    """Says which tokens are good no more. `told` runs while the outbox was read a moment ago."""

    def __init__(
        self,
        engine: AsyncEngine,
        edits: Edits,
        clock: Clock,
        told: Lease,
        trust_s: float,
        *,
        way: Trip = open_way,
    ) -> None:
        self._engine = engine
        self._edits = edits
        edits.committed.append(self.heard)
        self._clock = clock
        self._monotonic = clock.monotonic
        self._told = told
        self._trust_s = trust_s
        self._way = way
        self._tokens: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._doubts = 1
        self._settled = 0
        """Which doubts a read of L3 has answered; all when equal to `_doubts`."""
        self._read_until = float("-inf")
        self._flights: SingleFlight[None] = SingleFlight()
        self._watching: dict[str, set[asyncio.Future[None]]] = {}
        self._sweep_at = _SWEEP

    # -- asking ----------------------------------------------------------------------------------

    def certain(self) -> bool:
        """Say whether everything that was revoked 2 s ago is known here."""
        now = self._monotonic()
        return self._settled == self._doubts and (now < self._told.until or now < self._read_until)

    def revoked(self, token_id: str, user_id: str, issued_at: float) -> bool:
        """Say whether a token is good no more, as far as this server knows."""
        return token_id in self._tokens or issued_at <= self._users.get(user_id, -1)

    async def make_certain(self) -> None:
        """Read L3 unless `certain`. While L3 is away, what is known here has to do."""
        # Nobody can revoke anything either while L3 is away.
        with suppress(DurableTierUnavailable):
            # Twice at most: the first read may have begun before the doubt came.
            for _ in range(2):
                if not self.certain():
                    await self._flights.do("all", self._read)

    async def _read(self) -> None:
        began, doubts = self._monotonic(), self._doubts
        now = int(self._clock.now().timestamp())
        cut = select(users.c.id, users.c.not_before).where(users.c.not_before > 0)
        living = select(revoked_tokens.c.id, revoked_tokens.c.until).where(
            revoked_tokens.c.until > now
        )
        with answering():
            async with self._way(), self._engine.connect() as connection:
                found_users = (await connection.execute(cut)).all()
                found_tokens = (await connection.execute(living)).all()
        for id, not_before in found_users:
            self._note(REVOKED_USER, id, not_before)
        for id, until in found_tokens:
            self._note(REVOKED_TOKEN, id, until)
        self._settled, self._read_until = doubts, began + self._trust_s

    @contextmanager
    def watching(self, token_id: str, user_id: str) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done when one of these is revoked; to be waited for only."""
        future = asyncio.get_running_loop().create_future()
        for id in (token_id, user_id):
            self._watching.setdefault(id, set()).add(future)
        try:
            yield future
        finally:
            for id in (token_id, user_id):
                waiting = self._watching.get(id)
                if waiting is not None:
                    waiting.discard(future)
                    if not waiting:
                        del self._watching[id]

    # -- hearing ---------------------------------------------------------------------------------

    def heard(self, change: Announcement) -> None:
        """Take note of what was revoked, here or elsewhere; other changes are none of it."""
        if change.kind in KINDS:
            self._note(change.kind, change.id, change.version.seq)

    def doubt(self) -> None:
        """Messages were missed, or L3 is on another branch: read it before the next answer."""
        self._doubts += 1

    def _note(self, kind: str, id: str, value: int) -> None:
        known = self._tokens if kind == REVOKED_TOKEN else self._users
        if value <= known.get(id, -1):
            return
        known[id] = value
        for future in self._watching.get(id, ()):
            if not future.done():
                future.set_result(None)
        if len(self._tokens) > self._sweep_at:
            now = self._clock.now().timestamp()
            self._tokens = {id: until for id, until in self._tokens.items() if now < until}
            self._sweep_at = 2 * len(self._tokens) + _SWEEP

    # -- revoking --------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Revoking]:
        """Give an edit that may revoke: see `Edits.transaction`.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; it may be committed.
            Overloaded: more is revoked than a server can remember, or too many edits wait.
        """
        if max(len(self._tokens), len(self._users)) >= _MAX:
            raise Overloaded("too many tokens are revoked", 60.0)
        async with self._edits.transaction() as edit:
            yield Revoking(edit)

    async def purge(self) -> int:
        """Remove what has expired by itself; return how many rows that were."""
        return await remove(
            self._engine,
            self._way,
            revoked_tokens,
            revoked_tokens.c.until < literal(int(self._clock.now().timestamp())),
        )

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {
            "revoked_tokens": Buffer(len(self._tokens), _MAX),
            "revoked_users": Buffer(len(self._users), _MAX),
        }

    async def aclose(self) -> None:
        await self._flights.aclose()


async def remove(engine: AsyncEngine, way: Trip, table: Table, which: Any) -> int:
    """Delete rows of a table; return how many."""
    with answering():
        async with way(), engine.begin() as connection:
            return (await connection.execute(delete(table).where(which))).rowcount
