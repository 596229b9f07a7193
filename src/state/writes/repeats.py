"""What came of a command whose key was seen before: the log remembers, whoever owns it now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.state.models import Claim, Version, event_id
from src.state.protocols import EventLog

_MOST_EVENTS = 200


class Repeats:
    """Finds first answers by key."""

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log

    async def results(self, asked: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Version]:
        """Look (id, key) pairs up; those in the log come back with the version they led to."""
        found = await self._log.find([(id, event_id(key, 0)) for id, key in asked])
        results = {}
        for id, key in asked:
            first = found.get((id, event_id(key, 0)))
            if first is not None:
                results[id, key] = await self._last(id, key, first)
        return results

    async def landed(self, claims: Sequence[Claim]) -> set[str]:
        """Of claims that matched no row, those that an earlier, unanswered try had put in."""
        first = {claim.aggregate_id: claim.events[0] for claim in claims}
        found = await self._log.find([(id, event.event_id) for id, event in first.items()])
        return {
            id for id, event in first.items() if found.get((id, event.event_id)) == event.version
        }

    async def _last(self, id: str, key: str, first: Version) -> Version:
        """Return the version of a command's last event: its events lie one after another."""
        version = first
        for index, event in enumerate(await self._log.tail(id, first.seq, _MOST_EVENTS)):
            if event.event_id != event_id(key, index):
                break
            version = event.version
        return version
