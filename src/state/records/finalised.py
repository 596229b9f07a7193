"""Lives of rooms and calls that have ended: each is somebody's to finalise, and is so once.

The row of a room's life comes into being with its end (`rooms.py`), whoever heard of it and however
often. That of a call is there while it lasts, and is due when nobody notes that it still does.
Whoever claims it does the work and says so; a claim of a server that died is another's after a
while, so the work must be repeatable: what it writes elsewhere has a key of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from src.state.tiers.postgres import Pool

_GIVEN_UP_AFTER = timedelta(seconds=120)
"""A server that died while it finalised leaves its claim; finalising takes less than this."""

_CLAIM = """
UPDATE finalised SET claimed_at = now() WHERE (room_id, began) IN (
    SELECT room_id, began FROM finalised
    WHERE done_at IS NULL AND {which} AND (claimed_at IS NULL OR claimed_at < now() - $1::interval)
    ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING room_id, began, conversation_id, ended_at
"""
_CLAIM_DUE = _CLAIM.format(which="due_at <= now()")
_CLAIM_ONE = _CLAIM.format(which="room_id = $3 AND began = $4")
_ALIVE = """
INSERT INTO finalised (room_id, began, conversation_id, due_at)
SELECT *, now() + $4::interval FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT (room_id, began) DO UPDATE SET ended_at = now(), due_at = excluded.due_at
WHERE finalised.done_at IS NULL
"""
_RELEASE = """
UPDATE finalised SET claimed_at = NULL, due_at = now() + $3::interval
WHERE room_id = $1 AND began = $2 AND done_at IS NULL
"""
_AGAIN = timedelta(seconds=10)
_DONE = """
UPDATE finalised SET done_at = now(), seq = $3, turns = $4, words = $5, interruptions = $6,
    duration_s = $7, talk_s = $8
WHERE room_id = $1 AND began = $2 AND done_at IS NULL
"""


class Life(msgspec.Struct, frozen=True, gc=False):
    """A call, as something that has a session."""

    id: str
    began: int
    """In milliseconds since 1970, by its server's clock."""
    conversation_id: str


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A life of a room, or a call, that has ended."""

    room_id: str
    began: int
    """When, in milliseconds since 1970 by the clock of LiveKit, or of the call's server."""
    conversation_id: str
    ended_at: datetime
    """When that was first heard of, or a call was last known to go on, by PostgreSQL's clock."""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What one was, in numbers."""

    turns: int = 0
    words: int = 0
    interruptions: int = 0
    duration_s: float = 0.0
    talk_s: float = 0.0


class Finalised:
    """The table. Every method raises DurableTierUnavailable without an answer of PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def alive(self, lives: Sequence[Life], due: timedelta) -> None:
        """Note that these go on now; one is due so long after it was last noted."""
        columns = zip(*((one.id, one.began, one.conversation_id) for one in lives), strict=True)
        await self._pool.execute(_ALIVE, *columns, due)

    async def claim_due(self, limit: int) -> Sequence[Ended]:
        """Claim what is due and nobody is at; whoever has it says `done` or `release`."""
        rows = await self._pool.fetch(_CLAIM_DUE, _GIVEN_UP_AFTER, limit)
        return [Ended(**row) for row in rows]

    async def claim(self, room_id: str, began: int) -> Ended | None:
        """Claim one, due or not; None: it is done, or somebody is at it."""
        rows = await self._pool.fetch(_CLAIM_ONE, _GIVEN_UP_AFTER, 1, room_id, began)
        return Ended(**rows[0]) if rows else None

    async def release(self, one: Ended) -> None:
        """Give a claim back: it could not be done now, and anybody may try a little later."""
        await self._pool.execute(_RELEASE, one.room_id, one.began, _AGAIN)

    async def done(self, one: Ended, seq: int | None, counted: Counted) -> None:
        """Note that it is done, by the event `seq`; None: there was nothing to be said of it."""
        numbers = msgspec.structs.astuple(counted)
        await self._pool.execute(_DONE, one.room_id, one.began, seq, *numbers)
