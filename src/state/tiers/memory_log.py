"""The event log of one kind in memory, under the rules of `postgres_log`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from src.state.errors import DuplicateEvent, DurableTierUnavailable, UnfitEvent
from src.state.guards import ALL_ON, Guards
from src.state.models import ZERO, Claim, Entry, Event, Version
from src.state.protocols import PAGE, Kind, Snapshot, Trip
from src.state.tiers.memory_database import MemoryDatabase


class MemoryLog:
    """`EventLog` of one kind."""

    def __init__(
        self,
        kind: Kind[Any, Any],
        database: MemoryDatabase,
        *,
        trip: Trip | None = None,
        guards: Guards = ALL_ON,
        timeline: Callable[[], int] = lambda: 0,
    ) -> None:
        self._kind = kind
        self._heads = database.heads[kind.heads]
        self._events = database.events[kind.events]
        self._snapshots = database.snapshots[kind.snapshots]
        self._read_models = database.read_models
        self._quarantine = database.quarantine
        self._trip = trip or database.trip
        self._guards = guards
        self._database = database
        self._timeline = timeline

    async def append(self, server_id: str, claims: Sequence[Claim]) -> frozenset[str]:
        async with self._trip():
            _check_storable(claims)
            fitting = [claim for claim in claims if self._stands(server_id, claim)]
            fresh = [self._new_of(claim) for claim in fitting]
            for claim, events in zip(fitting, fresh, strict=True):
                self._heads[claim.aggregate_id].seq += len(claim.events)
                self._events[claim.aggregate_id].extend(events)
            return frozenset(claim.aggregate_id for claim in fitting)

    def _stands(self, server_id: str, claim: Claim) -> bool:
        head = self._heads.get(claim.aggregate_id)
        if head is None:
            return False
        owned = head.owner_id == server_id and head.epoch == claim.epoch
        in_place = head.seq == claim.base_seq
        return (owned or not self._guards.epoch) and (in_place or not self._guards.seq)

    def _new_of(self, claim: Claim) -> list[Event]:
        """Return the events to insert, which both unique constraints allow."""
        present = self._events[claim.aggregate_id]
        names = {event.event_id for event in present}
        places = {event.version.seq for event in present}
        fresh = []
        for event in claim.events:
            if event.event_id not in names and event.version.seq not in places:
                fresh.append(event)
            elif self._guards.whole:
                raise DuplicateEvent(f"{claim.aggregate_id}: {event.event_id} is in the log")
            names.add(event.event_id)
            places.add(event.version.seq)
        return fresh

    async def find(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Version]:
        async with self._trip():
            found = {
                (id, event.event_id): event.version
                for id in {id for id, _ in wanted}
                for event in self._events.get(id, ())
            }
        return {pair: found[pair] for pair in wanted if pair in found}

    async def load(self, id: str) -> tuple[Snapshot | None, Sequence[Event]]:
        async with self._trip():
            snapshot = self._snapshots.get(id)
            events = self._tail(id, 1 if snapshot is None else snapshot.version.seq, PAGE)
        return snapshot, events

    async def tail(
        self, id: str, from_seq: int, limit: int = PAGE, max_bytes: int | None = None
    ) -> Sequence[Event]:
        async with self._trip():
            events = self._tail(id, from_seq, limit)
        if max_bytes is None:
            return events
        before = accumulate((len(event.body) for event in events), initial=0)
        return [event for event, size in zip(events, before, strict=False) if size <= max_bytes]

    def _tail(self, id: str, from_seq: int, limit: int) -> Sequence[Event]:
        events = self._events.get(id, [])
        return [event for event in events if event.version.seq >= from_seq][:limit]

    async def gone(
        self, known: Sequence[tuple[str, Version]]
    ) -> Mapping[tuple[str, Version], Version]:
        async with self._trip():
            logs = {id: [event.version for event in self._tail(id, 1, 1 << 62)] for id, _ in known}
        return {
            (id, version): logs[id][-1] if logs[id] else ZERO
            for id, version in known
            if version not in logs[id] and (not logs[id] or logs[id][0].seq <= version.seq)
        }

    async def quarantine(self, events: Sequence[Event], why: str) -> None:
        async with self._trip():
            there = {(event.aggregate_id, event.event_id) for event, _ in self._quarantine}
            self._quarantine.extend(
                (event, why)
                for event in events
                if (event.aggregate_id, event.event_id) not in there
            )

    async def save(self, entries: Sequence[Entry[Any]]) -> None:
        kind = self._kind
        fresh = [
            Snapshot(entry.id, entry.version, kind.schema, entry.body(kind.encode_state))
            for entry in entries
        ]
        rows = [(model.table, model.row(entry)) for model in kind.read_models for entry in entries]
        async with self._trip():
            if self._timeline() not in (0, self._database.timeline):
                raise DurableTierUnavailable("the database in memory is on another timeline")
            for snapshot in fresh:
                old = self._snapshots.get(snapshot.id)
                if old is None or (
                    self._is_newer(old.version < snapshot.version) and old.schema <= snapshot.schema
                ):
                    self._snapshots[snapshot.id] = snapshot
            for table, row in rows:
                present = self._read_models[table].get(row[0])
                if present is None or self._is_newer(present[1] < row[1]):
                    self._read_models[table][row[0]] = row

    def _is_newer(self, newer: bool) -> bool:
        return newer or not self._guards.newer


def _check_storable(claims: Sequence[Claim]) -> None:
    """Refuse the texts that PostgreSQL cannot hold; a body is bytes and may hold anything."""
    for claim in claims:
        for event in claim.events:
            for text in (claim.aggregate_id, event.event_id, event.type, event.actor):
                if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
                    raise UnfitEvent(f"{text!a} has U+0000 or half of a surrogate pair")
