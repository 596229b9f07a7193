"""Erasing a conversation: after its deletion, everything that was ever said goes, in every tier.

The tombstone stays, so that the id never means something else. It is written over the snapshot,
the read models and the body in L2 first, and every server is told to let go of its copy; only then
the events before it are removed. So a crash leaves at any moment a history that folds to the
tombstone, and erasing again finishes it; once it is acknowledged, no tier has anything else to show
(ADR 16).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog

from src.state.aggregates import Aggregates
from src.state.errors import NotFound, Refused
from src.state.models import Entry, Version
from src.state.protocols import Clock, Eraser, EventLog, SharedTier
from src.state.records.erasures import Erasures
from src.swarm.files import FileService
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)


class Erasing:
    """Erases conversations that were deleted; on any server."""

    def __init__(
        self,
        conversations: Aggregates[ConversationState, Any],
        event_log: EventLog,
        shared: SharedTier,
        erasures: Erasures,
        eraser: Eraser,
        files: FileService | None,
        clock: Clock,
        settle: timedelta,
    ) -> None:
        self._conversations = conversations
        self._log = event_log
        self._shared = shared
        self._erasures = erasures
        self._eraser = eraser
        self._files = files
        self._clock = clock
        self._settle_s = settle.total_seconds()

    async def tombstone(self, conversation_id: str) -> ConversationState | None:
        """Return what is left of a deleted conversation; None when it was not deleted.

        Raises:
            NotFound: never created.
        """
        state = (await self._read(conversation_id, None)).state
        return state if state.status == "deleted" else None

    async def erase(self, conversation_id: str, *, at_least: Version | None = None) -> int:
        """Remove all events but the tombstone, and the files; return how many events went.

        To be repeated after an error: what is gone stays gone, the rest goes then.

        Raises:
            Refused: it was not deleted. NotFound: never created.
            MayNotErase: the database role that was given may not delete events.
            DurableTierUnavailable: PostgreSQL does not answer.
            SharedTierUnavailable: Redis does not; it may have what was said, and keep it.
        """
        entry = await self._read(conversation_id, at_least)
        if entry.state.status != "deleted":
            detail = f"conversation {conversation_id} is there; delete it, then erase it"
            raise Refused("not_deleted", detail)
        # First, so that no older snapshot or body, of an owner that was paused, can come back.
        await self._log.save([entry])
        await self._bury(entry)
        await self._erasures.tell(conversation_id)
        # Who answers from its copies without asking has pulled by then, and so has heard of it.
        await self._clock.sleep(self._settle_s)
        erased = await self._eraser.erase(conversation_id, entry.version)
        if self._files is not None:
            await self._files.delete_of(conversation_id)
        log.info("conversation.erased", conversation=conversation_id, events=erased)
        return erased

    async def _bury(self, entry: Entry[ConversationState]) -> None:
        """Put the tombstone into L2, in place of any body: of a newer release's schema too."""
        kind = self._conversations.kind.name
        await self._shared.delete(kind, [entry.id])
        await self._shared.put(kind, [self._conversations.store.snapshot_of(entry)])

    async def _read(
        self, conversation_id: str, at_least: Version | None
    ) -> Entry[ConversationState]:
        read = await self._conversations.read(conversation_id, at_least=at_least)
        if read is None:
            raise NotFound("conversation", conversation_id)
        return read.entry
