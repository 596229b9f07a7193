"""Edits that all servers hear of: of configs, and of what is believed no more.

One transaction holds an edit and its rows in the outbox, so what is committed is always announced
(I12): every server reads the outbox, Redis only makes it faster. No other way leads into it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from src.state.buffers import Buffer
from src.state.errors import Overloaded, StateError
from src.state.guards import ALL_ON, Guards
from src.state.models import Announcement, Version
from src.state.protocols import ChangePublisher, Trip, open_way
from src.state.reads.turnstile import Turnstile
from src.state.settings import StateSettings
from src.state.tiers.engine import answering
from src.state.tiers.tables import outbox

log = structlog.get_logger(__name__)

# Held while an edit commits: the outbox is then in order of commit, and a reader of its tail cannot
# step over a row that becomes visible later.
OUTBOX_LOCK = 7_305_148_213
_LOCK = text(f"SELECT pg_advisory_xact_lock({OUTBOX_LOCK})")
_LOCK_NOT_AVAILABLE = "55P03"

_IN_LINE = 500


class Edit:
    """A transaction under way, and what is announced after its commit."""

    def __init__(self, connection: AsyncConnection, *, told: bool) -> None:
        self.connection = connection
        self._told = told
        self.changes: list[Announcement] = []

    async def announce(self, kind: str, id: str, version: int) -> None:
        """Have all servers hear of this once it is committed."""
        if self._told:
            values = {"kind": kind, "id": id, "version": version}
            await self.connection.execute(insert(outbox).values(values))
        self.changes.append(Announcement(kind, id, Version(0, version)))


class Edits:
    """The line of this server's edits, one at a time, and their announcement."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: ChangePublisher,
        settings: StateSettings,
        *,
        way: Trip = open_way,
        guards: Guards = ALL_ON,
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._way = way
        self._guards = guards
        # PostgreSQL takes them one by one anyhow: in line here they hold no connection meanwhile.
        self._line = Turnstile("edits", 1, _IN_LINE, settings.submit_timeout.total_seconds())
        self.committed: list[Callable[[Announcement], None]] = []
        """Called with each change that was committed here, before it is announced."""

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {"waiting_edits": self._line.buffer}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Edit]:
        """Give a transaction that has the outbox from its beginning, and announce what it did.

        Take locks on rows inside it only: nobody who has some can then wait for the outbox.

        Raises:
            Overloaded: too many wait already, or waited for too long; nothing was done.
            DurableTierUnavailable: PostgreSQL did not answer; it may be committed.
        """
        async with self._line.turn():
            with answering():
                async with self._way(), self._engine.begin() as connection:
                    await self._lock(connection)
                    edit = Edit(connection, told=self._guards.outbox)
                    yield edit
        await self._announce(edit.changes)

    async def _lock(self, connection: AsyncConnection) -> None:
        try:
            await connection.execute(_LOCK)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            self._line.refused += 1
            raise Overloaded("edits on other servers take too long") from error

    async def _announce(self, changes: list[Announcement]) -> None:
        for change in changes:
            for callback in self.committed:
                callback(change)
        if not changes:
            return
        try:
            await self._publisher.publish(changes)
        except StateError as error:
            # Committed is committed: the outbox tells the other servers within half a second.
            kinds = sorted({change.kind for change in changes})
            log.warning("edit.announce_failed", kinds=kinds, error=str(error))
