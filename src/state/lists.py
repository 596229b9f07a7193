"""Lists: conversations by creation, messages by sequence.

A page of messages is read from the log itself and is complete. The list of conversations comes from
a read model, which lags behind the log by the write-behind delay and says as of when it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, column, literal, select, text, true, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.protocols import Trip, open_way
from src.state.tiers.engine import fetch
from src.state.tiers.tables import conversation_summaries

_MESSAGES = text("""
SELECT seq, body FROM events
WHERE conversation_id = :id AND type = :type AND seq < :before ORDER BY seq DESC LIMIT :limit
""")

_SESSIONS = text("""
SELECT events.seq, events.body FROM finalised
JOIN events ON events.conversation_id = finalised.conversation_id AND events.seq = finalised.seq
WHERE finalised.conversation_id = :id AND finalised.seq < :before
ORDER BY finalised.seq DESC LIMIT :limit
""")

_NOW = (
    text(
        "SELECT CASE WHEN pg_is_in_recovery() "
        "THEN pg_last_xact_replay_timestamp() ELSE now() END AS as_of"
    )
    .columns(column("as_of", DateTime(timezone=True)))
    .subquery()
)


class ConversationLists:
    """What SQL answers about conversations. Every method raises DurableTierUnavailable."""

    def __init__(self, engine: AsyncEngine, message_type: str, *, way: Trip = open_way) -> None:
        self._engine = engine
        self._way = way
        self._message_type = message_type

    async def messages(self, id: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return (seq, event body) of message events with seq < `before`, newest first."""
        rows = await fetch(
            self._engine,
            _MESSAGES.bindparams(id=id, before=before, type=self._message_type, limit=limit),
            self._way,
        )
        return [(row["seq"], row["body"]) for row in rows]

    async def sessions(self, id: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return (seq, event body) of summaries of sessions with seq < `before`, newest first."""
        query = _SESSIONS.bindparams(id=id, before=before, limit=limit)
        rows = await fetch(self._engine, query, self._way)
        return [(row["seq"], row["body"]) for row in rows]

    async def summaries(
        self, *, member: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> tuple[datetime, Sequence[Any]]:
        """Return summary rows, newest conversation first, beyond the (created_at, id) `after`.

        They come with the time of which they are: the database's own, of a replica the newest that
        it has followed.
        """
        table = conversation_summaries
        query = select(table).where(table.c.status != "deleted")
        if member is not None:
            is_member = literal(member) == table.c.members.any_()
            query = query.where(is_member | (table.c.created_by == member))
        place = tuple_(table.c.created_at, table.c.conversation_id)
        if after is not None:
            query = query.where(place < tuple_(literal(after[0]), literal(after[1])))
        page = query.order_by(place.desc()).limit(limit).subquery()
        # Joined to the time, which so comes with an empty page too.
        both = select(_NOW.c.as_of, page).select_from(_NOW.outerjoin(page, true()))
        newest_first = (page.c.created_at.desc(), page.c.conversation_id.desc())
        rows = await fetch(self._engine, both.order_by(*newest_first), self._way)
        return rows[0]["as_of"], [row for row in rows if row["conversation_id"] is not None]
