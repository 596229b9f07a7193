"""Rooms: which conversation one is the voice of, and what is known of its life on LiveKit.

LiveKit's room lasts from the first who enters until a while after the last has left, and begins
anew under the same name when somebody returns. `began` tells one life from the next: what is heard
late of an earlier one changes nothing, and a life that is over does not begin again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from src.state.errors import DuplicateEvent
from src.state.tiers.postgres import Pool

_FORGOTTEN_AT_ONCE = 5_000

_COLUMNS = """
    id, name, conversation_id, open, version, created_by, created_at, updated_at,
    deleted_at IS NOT NULL AS deleted, sid, began, over, agent,
    EXISTS (SELECT FROM room_swarms WHERE room_id = rooms.id) AS swarm,
    (SELECT dispatch_id FROM room_swarms WHERE room_id = rooms.id AND began = rooms.began)
"""
_CREATE = f"""
INSERT INTO rooms (id, name, conversation_id, open, created_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING RETURNING {_COLUMNS}
"""
_FIND = f"SELECT {_COLUMNS} FROM rooms WHERE id = $1"
_KNOWN = f"SELECT {_COLUMNS} FROM rooms WHERE id = ANY($1::text[])"
_LIVE = f"SELECT {_COLUMNS} FROM rooms WHERE NOT over ORDER BY id"
_ORPHANED = f"""
SELECT {_COLUMNS} FROM rooms WHERE deleted_at IS NULL AND conversation_id IN (
    SELECT conversation_id FROM conversation_summaries WHERE status = 'deleted')
LIMIT $1
"""
_LIST = f"""
SELECT {_COLUMNS} FROM rooms
WHERE deleted_at IS NULL AND id > $1 AND ($2::text IS NULL OR created_by = $2
    OR conversation_id IN (SELECT conversation_id FROM conversation_summaries
                           WHERE members @> ARRAY[$2] OR created_by = $2))
ORDER BY id LIMIT $3
"""
_UPDATE = f"""
UPDATE rooms SET name = $3, open = $4, version = version + 1, updated_at = now()
WHERE id = $1 AND version = $2 AND deleted_at IS NULL RETURNING {_COLUMNS}
"""
_DELETE = """
UPDATE rooms SET deleted_at = now(), version = version + 1
WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint IS NULL OR version = $2) RETURNING id
"""
_AFTERWARDS = timedelta(seconds=20)
"""What was said last may still be on its way to the log when a life is heard to be over."""
_SEE = f"""
WITH ended AS (
    INSERT INTO finalised (room_id, began, conversation_id, due_at)
    SELECT id, life, conversation_id, now() + $5::interval
    FROM rooms, LATERAL (VALUES
        (rooms.began, NOT over AND rooms.began BETWEEN 1 AND $3::bigint - 1),
        ($3, $4::boolean)) AS lives(life, is_over)
    WHERE id = $1 AND is_over ON CONFLICT DO NOTHING
)
UPDATE rooms SET sid = $2, began = $3, over = $4,
    agent = CASE WHEN $3 = began AND NOT $4 THEN agent ELSE '' END
WHERE id = $1 AND ($3 > began OR ($3 = began AND $4 AND NOT over)) RETURNING {_COLUMNS}
"""
_JOIN = "UPDATE rooms SET agent = $3 WHERE id = $1 AND began = $2 AND NOT over"
_LEAVE = "UPDATE rooms SET agent = '' WHERE id = $1 AND began = $2 AND agent = $3"
_HOSTED = f"""
SELECT {_COLUMNS} FROM rooms
WHERE NOT over AND deleted_at IS NULL AND starts_with(agent, $1) ORDER BY id LIMIT $2
"""

_HEARD = "SELECT FROM livekit_events WHERE id = $1"
_HEAR = "INSERT INTO livekit_events (id) VALUES ($1) ON CONFLICT DO NOTHING"
_FORGET = """
DELETE FROM livekit_events WHERE id IN (
    SELECT id FROM livekit_events WHERE at < now() - $1::interval LIMIT $2)
RETURNING id
"""


class Room(msgspec.Struct, frozen=True, gc=False):
    """A room. Its id is its name on LiveKit, and is never given to another."""

    id: str
    name: str
    """What people call it."""
    conversation_id: str
    open: bool
    """Whether guests may enter, where they may at all."""
    version: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    deleted: bool
    sid: str
    """LiveKit's name of its newest life; empty before the first."""
    began: int
    """When that life began, in milliseconds since 1970 by LiveKit's clock; 0 before the first."""
    over: bool
    agent: str
    """The swarm's agent in this life, by its identity; empty while none is there."""
    swarm: bool
    """Whether a swarm was asked for: it is sent again in each new life."""
    dispatch_id: str | None
    """LiveKit's name of the swarm's way to this life; None while there is none."""


class Rooms:
    """The tables. Every method raises DurableTierUnavailable without an answer of PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self, id: str, name: str, conversation_id: str, open: bool, actor: str
    ) -> Room | None:
        """Add a room; None: the id is taken, or the conversation has a room."""
        try:
            return await self._one(_CREATE, id, name, conversation_id, open, actor)
        except DuplicateEvent:
            return None

    async def find(self, id: str) -> Room | None:
        """Return a room, a deleted one too."""
        return await self._one(_FIND, id)

    async def known(self, ids: Sequence[str]) -> Sequence[Room]:
        """Return those of these rooms that are ours, deleted ones too."""
        return await self._many(_KNOWN, ids)

    async def live(self) -> Sequence[Room]:
        """Return rooms whose life is not over as far as was heard, deleted ones too."""
        return await self._many(_LIVE)

    async def orphaned(self, limit: int) -> Sequence[Room]:
        """Return rooms whose conversation was deleted."""
        return await self._many(_ORPHANED, limit)

    async def list(self, member: str | None, after: str, limit: int) -> Sequence[Room]:
        """Return rooms with id > `after` in order of id; of one creator or participant."""
        return await self._many(_LIST, after, member, limit)

    async def update(self, id: str, version: int, name: str, open: bool) -> Room | None:
        """Write name and openness of this version; None: it has moved on or is gone."""
        return await self._one(_UPDATE, id, version, name, open)

    async def delete(self, id: str, version: int | None) -> bool:
        """Delete it; its id stays taken. False: it is gone or has moved on."""
        return await self._pool.fetchrow(_DELETE, id, version) is not None

    async def see(self, id: str, sid: str, began: int, *, over: bool) -> Room | None:
        """Note what was seen of a life; None if that is nothing new.

        One that is over, or that another one has followed, is there to be finalised from now on.
        """
        return await self._one(_SEE, id, sid, began, over, _AFTERWARDS)

    async def agent_joined(self, id: str, began: int, identity: str) -> None:
        """Note who of the swarm is in this life."""
        await self._pool.execute(_JOIN, id, began, identity)

    async def agent_left(self, id: str, began: int, identity: str) -> None:
        """Note that it is gone, if nobody has come in its place."""
        await self._pool.execute(_LEAVE, id, began, identity)

    async def hosted(self, agent: str, limit: int) -> Sequence[Room]:
        """Return rooms that live and have an agent whose identity begins so."""
        return await self._many(_HOSTED, agent, limit)

    async def heard(self, event_id: str) -> bool:
        """Say whether this message of LiveKit was heard before."""
        return await self._pool.fetchrow(_HEARD, event_id) is not None

    async def hear(self, event_id: str) -> None:
        """Keep that it was heard, after what it said was done."""
        await self._pool.execute(_HEAR, event_id)

    async def forget(self, keep: timedelta) -> int:
        """Forget which messages were heard longer ago; return how many."""
        removed = 0
        while True:
            rows = await self._pool.fetch(_FORGET, keep, _FORGOTTEN_AT_ONCE)
            removed += len(rows)
            if len(rows) < _FORGOTTEN_AT_ONCE:
                return removed

    async def _one(self, query: str, *arguments: object) -> Room | None:
        found = await self._many(query, *arguments)
        return found[0] if found else None

    async def _many(self, query: str, *arguments: object) -> Sequence[Room]:
        return [Room(**row) for row in await self._pool.fetch(query, *arguments)]
