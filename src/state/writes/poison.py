"""Puts aside what the log can never take, so that an operator finds it and nothing waits for it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from src.state.errors import StateError
from src.state.models import Event
from src.state.protocols import EventLog

log = structlog.get_logger(__name__)


class Poison:
    """The way into quarantine, for one kind on one server."""

    def __init__(self, event_log: EventLog, kind: str) -> None:
        self._log = event_log
        self._kind = kind
        self.quarantined = 0
        """Rows put aside, or tried to."""

    async def put_aside(self, events: Sequence[Event], why: str) -> None:
        """Keep these of one aggregate; if that fails as well, the process's own log names it."""
        id = events[0].aggregate_id
        self.quarantined += len(events)
        log.error("poison.put_aside", kind=self._kind, id=id, type=events[0].type, why=why)
        try:
            await self._log.quarantine(events, why)
        except StateError as failure:
            log.warning("quarantine.failed", id=id, error=str(failure))
