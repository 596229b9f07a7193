"""Erasing in PostgreSQL, over a connection of its own: the service's role may not delete events."""

from __future__ import annotations

from typing import Any

import asyncpg

from src.state.errors import MayNotErase
from src.state.models import Version
from src.state.protocols import Kind
from src.state.settings import StateSettings
from src.state.tiers.postgres import NO_ANSWER, answering, unreachable

_CHUNK = 2000
"""Events per statement: each ends well within the role's time-out."""

# From the newest down: whatever is left when this breaks off begins as it always did and ends with
# the tombstone, so it still folds.
_ERASE = """
WITH tombstone AS (
    SELECT event.seq FROM {events} event JOIN {heads} head ON head.id = event.conversation_id
    WHERE head.id = $1 AND head.seq = $2
        AND event.seq = $2 AND event.epoch = $3 AND event.type = $4
), newest AS (
    SELECT coalesce(max(seq), 0) AS seq FROM {events} WHERE conversation_id = $1 AND seq < $2
), gone AS (
    DELETE FROM {events} event USING tombstone, newest
    WHERE event.conversation_id = $1 AND event.seq < tombstone.seq
        AND event.seq > newest.seq - {chunk}
    RETURNING 1
)
SELECT count(*) FROM gone
"""
_FORGET = "DELETE FROM quarantine WHERE kind = $1 AND aggregate_id = $2"


class PostgresEraser:
    """`Eraser` of one kind; `tombstone` is the type of the event that ends an aggregate."""

    def __init__(self, kind: Kind[Any, Any], tombstone: str, settings: StateSettings) -> None:
        self._kind = kind.name
        self._erase = _ERASE.format(events=kind.events, heads=kind.heads, chunk=_CHUNK)
        self._tombstone = tombstone
        self._url = (settings.erase_database_url or settings.database_url).get_secret_value()
        self._connect_s = settings.connect_timeout.total_seconds()
        self._statement_s = settings.statement_timeout.total_seconds()

    async def erase(self, id: str, tombstone: Version) -> int:
        try:
            connection = await asyncpg.connect(
                self._url, timeout=self._connect_s, command_timeout=self._statement_s
            )
        except NO_ANSWER as error:
            raise unreachable(self._url, error) from error
        erased = 0
        try:
            with answering():
                try:
                    while gone := await connection.fetchval(
                        self._erase, id, tombstone.seq, tombstone.epoch, self._tombstone
                    ):
                        erased += gone
                    await connection.execute(_FORGET, self._kind, id)
                except asyncpg.InsufficientPrivilegeError as error:
                    raise MayNotErase from error
        finally:
            connection.terminate()
        return erased
