"""The line of swarms that wait for a server with a free place.

A room's row says how its swarm comes to its present life. It waits in order of its ticket until
somebody takes it, under a lock, so that two servers never give the same place away; it is placed
when LiveKit was asked, expired when its deadline passed first, and dead when asking failed too
often. All times are PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from src.state.records.rooms import Room
from src.state.tiers.postgres import Pool

Standing = Literal["waiting", "placed", "expired", "dead"]

_LOCK = 7_305_148_214
_GIVEN_UP_AFTER = timedelta(seconds=30)
"""A server that died while it sent a swarm leaves its claim; sending takes less than this."""
_LONGEST_PAUSE_S = 60

QUEUED = """
    s.room_id, r.conversation_id, s.began, s.state, s.enqueued_at, s.deadline, s.attempts, s.why,
    s.dispatch_id, s.anew, s.lost, CASE WHEN s.state = 'waiting' THEN (SELECT count(*)
        FROM room_swarms b WHERE b.state = 'waiting' AND b.ticket <= s.ticket) ELSE 0 END
    AS position
FROM room_swarms s JOIN rooms r ON r.id = s.room_id
"""
_FIND = f"SELECT {QUEUED} WHERE s.room_id = $1"
# Within one life a swarm keeps its ticket: one that lost its server comes before who came later.
_ENTER = """
INSERT INTO room_swarms AS known (room_id, began, state, claimed_at, deadline, anew, lost)
SELECT id, began, 'waiting', '-infinity', now() + $3::interval, $4, $5 FROM {source}
ON CONFLICT (room_id) DO UPDATE SET
    began = excluded.began, dispatch_id = NULL, claimed_at = excluded.claimed_at, next_try = now(),
    enqueued_at = now(), deadline = excluded.deadline, anew = excluded.anew, lost = excluded.lost,
    ticket = CASE WHEN known.began = excluded.began AND known.state = 'placed'
        THEN known.ticket ELSE excluded.ticket END,
    attempts = CASE WHEN $7::integer IS NULL THEN 0 ELSE known.attempts END,
    state = CASE WHEN known.began = excluded.began AND known.attempts >= $7
        THEN 'dead' ELSE 'waiting' END,
    why = CASE WHEN known.began = excluded.began AND known.attempts >= $7
        THEN 'no server took it on' ELSE '' END
WHERE known.began < excluded.began
   OR (known.began = excluded.began AND known.state = ANY($6::text[]))
RETURNING state
"""
_ENTER_ROOM = _ENTER.format(source="(VALUES ($1::text, $2::bigint)) AS wanted (id, began)")
_ENTER_ORPHAN = f"""
WITH gone AS (
    UPDATE rooms SET agent = '' WHERE id = $1 AND began = $2 AND agent = $5 RETURNING id, began)
{_ENTER.format(source="gone")}
"""
# A place is free that no session has and nobody is on the way to.
_TAKE = """
UPDATE room_swarms SET claimed_at = now(), next_try = now() + $1::interval, attempts = attempts + 1
WHERE state = 'waiting' AND room_id = (
    SELECT s.room_id FROM room_swarms s JOIN rooms r ON r.id = s.room_id
    WHERE s.state = 'waiting' AND s.next_try <= now() AND s.deadline > now()
        AND s.began = r.began AND NOT r.over AND r.deleted_at IS NULL
    ORDER BY s.ticket LIMIT 1)
AND (SELECT coalesce(sum(greatest(capacity - load, 0)), 0) FROM servers WHERE dead_at IS NULL)
  > (SELECT count(*) FROM room_swarms s JOIN rooms r ON r.id = s.room_id AND r.began = s.began
     WHERE s.claimed_at > now() - $2::interval AND r.agent = '' AND NOT r.over)
RETURNING room_id
"""
_SENT = """
UPDATE room_swarms SET state = 'placed', dispatch_id = $3, why = ''
WHERE room_id = $1 AND began = $2
"""
_FAILED = """
UPDATE room_swarms SET claimed_at = '-infinity', why = $3,
    next_try = now() + least(2 ^ attempts, $5) * interval '1 second',
    state = CASE WHEN attempts >= $4 THEN 'dead' ELSE 'waiting' END
WHERE room_id = $1 AND began = $2 AND state = 'waiting' RETURNING state
"""
_RELEASE = """
UPDATE room_swarms SET claimed_at = '-infinity', next_try = now(), attempts = attempts - 1
WHERE room_id = $1 AND began = $2 AND state = 'waiting'
"""
_EXPIRE = """
UPDATE room_swarms s SET state = 'expired', claimed_at = '-infinity',
    why = CASE WHEN s.deadline <= now() THEN 'no place came free in time; ' || s.why
        ELSE 'the room ended' END
FROM rooms r
WHERE r.id = s.room_id AND s.state = 'waiting' AND s.claimed_at < now() - $1::interval
    AND (s.deadline <= now() OR r.over OR r.began > s.began OR r.deleted_at IS NOT NULL)
RETURNING s.room_id
"""
_COUNT = """
SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
    coalesce(extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE state = 'waiting')), 0)
        ::float AS oldest_s,
    count(*) FILTER (WHERE state = 'dead') AS dead
FROM room_swarms WHERE state IN ('waiting', 'dead')
"""


class Queued(msgspec.Struct, frozen=True, gc=False):
    """How the swarm comes to a life of a room."""

    room_id: str
    conversation_id: str
    began: int
    """Which life, as `Room.began`."""
    state: Standing
    enqueued_at: datetime
    deadline: datetime
    """When it stops waiting."""
    attempts: int
    """How often LiveKit was asked, or was to be asked."""
    why: str
    """What was in the way last; empty when nothing was."""
    dispatch_id: str | None
    """LiveKit's name of its way; None while it waits."""
    anew: bool
    """Whether to send it though one has done its work in this life ..."""
    lost: str
    """... or this agent, whose server died, is still there as far as LiveKit knows."""
    position: int
    """Its place in line, 1 for the next; 0 when it does not wait."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """The line as a whole."""

    waiting: int = 0
    oldest_s: float = 0.0
    """How long the first to come has waited, in seconds."""
    dead: int = 0
    """Swarms that only an operator sends on their way again."""


class SwarmQueue:
    """The table. Every method raises DurableTierUnavailable without an answer of PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, room_id: str) -> Queued | None:
        """Return how a room's swarm comes; None: none was asked for."""
        row = await self._pool.fetchrow(_FIND, room_id)
        return None if row is None else Queued(**row)

    async def enter(
        self,
        room: Room,
        wait: timedelta,
        *,
        again_from: Collection[Standing] = (),
        anew: bool = False,
        attempts: int | None = None,
    ) -> bool:
        """Put a life's swarm in line; say whether it was not there, or was so far `again_from`.

        With `attempts` those made so far count, and after so many it is dead instead.
        """
        given = (room.id, room.began, wait, anew, "", sorted(again_from), attempts)
        return await self._pool.fetchrow(_ENTER_ROOM, *given) is not None

    async def enter_orphan(self, room: Room, wait: timedelta) -> bool:
        """Put the swarm of a room whose agent is gone in line anew, at its old place.

        Of several servers that find it, one is told that it did.
        """
        every: list[Standing] = ["placed", "waiting", "expired", "dead"]
        given = (room.id, room.began, wait, True, room.agent, every, None)
        return await self._pool.fetchrow(_ENTER_ORPHAN, *given) is not None

    async def take(self, on_the_way: timedelta) -> Queued | None:
        """Claim the next in line for a place that is free; None: nobody waits, or none is.

        A swarm is on the way for so long, unless its agent is there earlier. Whoever gets one says
        `sent`, `failed` or `release`; who died with it is stood in for after a while.
        """
        async with self._pool.lend() as connection:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                room_id = await connection.fetchval(_TAKE, _GIVEN_UP_AFTER, on_the_way)
            row = None if room_id is None else await connection.fetchrow(_FIND, room_id)
        return None if row is None else Queued(**row)

    async def sent(self, one: Queued, dispatch_id: str) -> None:
        """Note that LiveKit was asked."""
        await self._pool.execute(_SENT, one.room_id, one.began, dispatch_id)

    async def failed(self, one: Queued, why: str, attempts: int) -> bool:
        """Put it back in its place for a pause that grows; say whether it is dead instead."""
        given = (one.room_id, one.began, why, attempts, _LONGEST_PAUSE_S)
        row = await self._pool.fetchrow(_FAILED, *given)
        return row is not None and row["state"] == "dead"

    async def release(self, one: Queued) -> None:
        """Give a claim back: nothing was tried, and anybody may."""
        await self._pool.execute(_RELEASE, one.room_id, one.began)

    async def expire(self) -> int:
        """Let go who has waited too long, or whose room is over; return how many."""
        return len(await self._pool.fetch(_EXPIRE, _GIVEN_UP_AFTER))

    async def count(self) -> Line:
        """Look at the line."""
        row = await self._pool.fetchrow(_COUNT)
        assert row is not None, "an aggregate has one row"
        return Line(**row)
