"""Where the truth of a kind is read from: for aggregates the log, for configs their row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from src.state.errors import Undecodable
from src.state.guards import ALL_ON, Guards
from src.state.models import Entry, Event, Version
from src.state.protocols import PAGE, EventLog, Kind, Snapshot, Stored

S = TypeVar("S")

log = structlog.get_logger(__name__)


class Source(Protocol[S]):
    """Reads one state from L3."""

    async def load(self, id: str, base: Entry[S] | None) -> Entry[S] | None:
        """Return the newest logged state; None when there is none.

        `base`, when given, is an older state of it to build on; a base that does not lie on the
        present history is thrown away.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer.
        """


class Loaded(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """A state as a new owner needs it."""

    entry: Entry[S] | None
    unsnapshotted: int
    """How many of its events are beyond the snapshot: they are still to be flushed."""
    last_at: datetime | None
    """When its newest event occurred."""


class LogSource(Generic[S]):
    """Folds the tail of the log onto a base or onto the snapshot."""

    def __init__(self, kind: Kind[S, Any], log: EventLog, *, guards: Guards = ALL_ON) -> None:
        self._kind = kind
        self._log = log
        self._guards = guards
        self.loads = 0

    async def load(self, id: str, base: Entry[S] | None) -> Entry[S] | None:
        self.loads += 1
        if base is not None:
            # From the base's own event on, inclusive: it must still be the one it was built on.
            events = await self._log.tail(id, base.version.seq)
            if self._continues(base, events):
                return (await self._complete(id, base, events, 1))[0]
        return (await self.load_with_tail(id)).entry

    async def is_newest(self, id: str, version: Version) -> bool:
        """Whether this is the version of the last event in the log; (0, 0) stands for none."""
        newest = await self._log.tail(id, version.seq, 2)
        return [event.version for event in newest] == ([version] if version.seq else [])

    async def load_with_tail(self, id: str) -> Loaded[S]:
        """Return the state together with what an owner must know of its newest events."""
        base, events = await self._begin(id, lambda _: True)
        skip = 0 if base is None else 1
        entry, last = await self._complete(id, base, events, skip)
        seq = 0 if entry is None else entry.version.seq
        unsnapshotted = seq - (0 if base is None else base.version.seq)
        return Loaded(entry, unsnapshotted, None if last is None else last.at)

    async def load_until(self, id: str, within: Callable[[Event], bool]) -> Entry[S] | None:
        """Return the state after the last event that is `within`; None when not even the first is.

        `within` is true of a beginning of the history. Memory for one page of it is needed, and
        time for all that lies between the snapshot, if that is within, and the end wanted. A
        history with a gap, which is being erased, has no past any more: None as well.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        entry, events = await self._begin(id, within)
        fresh = events if entry is None else events[1:]
        while True:
            if not is_dense(fresh, 0 if entry is None else entry.version.seq):
                return None
            wanted = [event for event in fresh if within(event)]
            entry = fold_events(self._kind, id, entry, wanted)
            if len(wanted) < len(fresh) or len(events) < PAGE:
                return entry
            fresh = events = await self._log.tail(id, events[-1].version.seq + 1)

    async def _begin(
        self, id: str, within: Callable[[Event], bool]
    ) -> tuple[Entry[S] | None, Sequence[Event]]:
        """Return the snapshot and the events from its own on; without one those from the first on.

        A snapshot counts if it lies on the present history and is `within`.
        """
        snapshot, events = await self._log.load(id)
        if snapshot is None:
            return None, events
        base = self._decode(snapshot)
        # A snapshot of a lost branch (restored database) does not continue.
        if base is not None and self._continues(base, events) and (not events or within(events[0])):
            return base, events
        # The events came from the snapshot's place on: without it the history starts at one.
        return None, await self._log.tail(id, 1)

    def _continues(self, base: Entry[S], events: Sequence[Event]) -> bool:
        """Whether events from the base's seq on begin with the one that it was built on."""
        if not self._guards.inclusive:
            return True
        return bool(events) and events[0].version == base.version

    def _decode(self, snapshot: Snapshot) -> Entry[S] | None:
        """Read a snapshot; None when this release cannot: it is derived, the log is not."""
        if snapshot.schema > self._kind.schema:
            return None
        try:
            return decode_entry(self._kind, snapshot)
        except Undecodable as error:
            log.warning("snapshot.undecodable", id=snapshot.id, error=str(error))
            return None

    async def _complete(
        self, id: str, base: Entry[S] | None, events: Sequence[Event], skip: int
    ) -> tuple[Entry[S] | None, Event | None]:
        """Fold page after page until one is short; also return the newest event seen."""
        entry = fold_events(self._kind, id, base, events[skip:])
        last = events[-1] if events else None
        while len(events) >= PAGE and last is not None:
            events = await self._log.tail(id, last.version.seq + 1)
            entry = fold_events(self._kind, id, entry, events)
            last = events[-1] if events else last
        return entry, last


def is_dense(events: Sequence[Event], after: int) -> bool:
    """Whether these are the events next to number `after`, none left out: erasing makes gaps."""
    return all(event.version.seq == seq for seq, event in enumerate(events, after + 1))


def fold_events(
    kind: Kind[S, Any], id: str, base: Entry[S] | None, events: Sequence[Event]
) -> Entry[S] | None:
    """Fold logged events onto a state; without events the base itself comes back."""
    if not events:
        return base
    state = None if base is None else base.state
    version: Version | None = None
    for event in events:
        state = kind.fold(
            state, kind.decode_event(event.type, event.schema, event.body), event.meta
        )
        version = event.version
    if state is None or version is None:
        return base
    return Entry(id, version, state)


def decode_entry(kind: Stored[S], snapshot: Snapshot) -> Entry[S]:
    """Read a snapshot; the bytes stay beside the value, which may point into them.

    Raises:
        Undecodable: not a body that this release can read.
    """
    try:
        state = kind.decode_state(snapshot.body)
    except msgspec.MsgspecError as error:
        raise Undecodable(f"{kind.name} {snapshot.id}", str(error)) from error
    return Entry(snapshot.id, snapshot.version, state, None, snapshot.body)
