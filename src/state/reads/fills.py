"""Copies what was loaded from L3 up into L2, beside the reader's way."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

import structlog

from src.state.buffers import Buffer
from src.state.errors import SharedTierUnavailable
from src.state.models import Entry
from src.state.protocols import SharedTier, Snapshot, Stored

S = TypeVar("S")

log = structlog.get_logger(__name__)

_MAX_WAITING = 1000
_BATCH = 64
_GATHER_S = 0.01


class Fills(Generic[S]):
    """A bounded queue of L2 fills; what does not fit is left out, since L2 is only a cache."""

    def __init__(self, kind: Stored[S], shared: SharedTier) -> None:
        self._kind = kind
        self._shared = shared
        self._waiting: dict[str, tuple[Entry[S], str]] = {}
        self._wake = asyncio.Event()
        self._left_out = 0

    def buffer(self, kind: str) -> Buffer:
        return Buffer(len(self._waiting), _MAX_WAITING, self._left_out, kind)

    def add(self, entry: Entry[S], incarnation: str) -> None:
        """Queue an entry, with the life of Redis that was known before it was loaded."""
        if len(self._waiting) < _MAX_WAITING or entry.id in self._waiting:
            self._waiting[entry.id] = (entry, incarnation)
            self._wake.set()
        else:
            self._left_out += 1

    def drop(self, id: str) -> None:
        """Leave one out: it is not to be in L2."""
        self._waiting.pop(id, None)

    async def run(self) -> None:
        """Fill until cancelled."""
        while True:
            await self._wake.wait()
            # Readers that miss come in crowds: one write for those of a moment.
            await asyncio.sleep(_GATHER_S)
            self._wake.clear()
            while self._waiting:
                ids = list(self._waiting)[:_BATCH]
                batch = [self._snapshot(*self._waiting.pop(id)) for id in ids]
                try:
                    await self._shared.put(self._kind.name, batch)
                except SharedTierUnavailable as error:
                    log.warning("l2.fill_failed", error=str(error))
                    self._waiting.clear()

    def _snapshot(self, entry: Entry[S], incarnation: str) -> Snapshot:
        body = entry.body(self._kind.encode_state)
        return Snapshot(entry.id, entry.version, self._kind.schema, body, incarnation)
