"""Writes states to L3, many in one transaction; one that can never be written costs no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from src.state.errors import TierUnavailable
from src.state.models import Entry, Event
from src.state.protocols import Clock, EventLog, Kind
from src.state.writes.poison import Poison

S = TypeVar("S")

_SNAPSHOT = "snapshot"
"""Name and type of a state in quarantine."""


class Saver(Generic[S]):
    """Saves snapshots and read models of one kind."""

    def __init__(
        self, kind: Kind[S, Any], event_log: EventLog, clock: Clock, poison: Poison
    ) -> None:
        self._kind = kind
        self._log = event_log
        self._clock = clock
        self._poison = poison

    async def save(self, entries: Sequence[Entry[S]]) -> None:
        """Write them; what L3 can never take is left out, since the log has its events.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; any of them may be written.
        """
        try:
            await self._log.save(entries)
        except TierUnavailable:
            raise
        except Exception as error:
            # Not only UnfitEvent: a defect in a codec or a read model costs its own state alone.
            if len(entries) == 1:
                await self._put_aside(entries[0], error)
                return
            middle = len(entries) // 2
            await self.save(entries[:middle])
            await self.save(entries[middle:])

    async def _put_aside(self, entry: Entry[S], error: Exception) -> None:
        kind = self._kind
        try:
            body = entry.body(kind.encode_state)
        except Exception:
            # It is for that very reason that it is here.
            body = b""
        now = self._clock.now()
        poison = Event(entry.id, entry.version, _SNAPSHOT, _SNAPSHOT, kind.schema, body, "", now)
        await self._poison.put_aside([poison], str(error) or repr(error))
