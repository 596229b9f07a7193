"""L2 as one store sees it: bytes that other releases wrote become entries, and entries bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

import structlog

from src.state.errors import SharedTierUnavailable, Undecodable
from src.state.guards import Guards
from src.state.models import Entry
from src.state.protocols import SharedTier, Snapshot, Stored
from src.state.reads.source import decode_entry
from src.state.tiers.incarnations import Incarnations

S = TypeVar("S")

log = structlog.get_logger(__name__)


class SharedCopies(Generic[S]):
    """The bodies of one kind."""

    def __init__(
        self, kind: Stored[S], shared: SharedTier, incarnations: Incarnations, guards: Guards
    ) -> None:
        self._kind = kind
        self._shared = shared
        self._incarnations = incarnations
        self._guards = guards

    async def get(self, id: str) -> tuple[Entry[S] | None, bool]:
        """Return what L2 holds, and whether it is an answer; None when there is no use of it."""
        try:
            copy = await self._shared.get(self._kind.name, id)
        except SharedTierUnavailable as error:
            log.debug("l2.unavailable", error=str(error))
            return None, False
        if copy is None or copy.snapshot.schema > self._kind.schema:
            return None, False
        try:
            current = copy.current or not self._guards.head
            return decode_entry(self._kind, copy.snapshot), current
        except Undecodable as error:
            log.warning("l2.undecodable", kind=self._kind.name, id=id, error=str(error))
            return None, False

    def snapshot_of(self, entry: Entry[S]) -> Snapshot:
        """Return the bytes of an entry for L2, stamped with the life of Redis known now."""
        body = entry.body(self._kind.encode_state)
        incarnation = self._incarnations.of(entry.id)
        return Snapshot(entry.id, entry.version, self._kind.schema, body, incarnation)
