"""What was logged on a branch of PostgreSQL's history that did not survive a failover.

With an asynchronous standby a failover can lose commits that were acknowledged. No server can
bring them back; but each knows the versions it held and heard of, and says which are gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from itertools import islice

import msgspec
import structlog

from src.state.errors import DurableTierUnavailable
from src.state.models import Version
from src.state.protocols import Clock, EventLog

log = structlog.get_logger(__name__)

_AT_ONCE = 500
_KEPT = 100
_AGAIN_S = 1.0


class Lost(msgspec.Struct, frozen=True, gc=False):
    """One aggregate whose newest known version is not in the log any more."""

    id: str
    known: Version
    """This server had acknowledged it, or heard that it was logged."""
    found: Version
    """The newest in the log when that was found out; (0, 0): nothing of it is left."""


class LostWrites:
    """Compares what was known of one kind with the log, after the log went to another branch.

    Bounded: at most as many versions as the server's lanes and watermarks, and the last 100 losses
    in full.
    """

    def __init__(self, kind: str, event_log: EventLog, clock: Clock) -> None:
        self._kind = kind
        self._log = event_log
        self._clock = clock
        self._suspects: dict[tuple[str, Version], None] = {}
        self._wake = asyncio.Event()
        self.count = 0
        """Aggregates of which something was lost."""
        self.latest: deque[Lost] = deque(maxlen=_KEPT)

    def suspect(self, known: Iterable[tuple[str, Version]]) -> None:
        """Take note of versions that may be lost; they are looked up in the background."""
        self._suspects.update(dict.fromkeys(known))
        self._wake.set()

    async def run(self) -> None:
        """Look up what is suspected until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._suspects:
                some = list(islice(self._suspects, _AT_ONCE))
                try:
                    gone = await self._log.gone(some)
                except DurableTierUnavailable:
                    await self._clock.sleep(_AGAIN_S)
                    continue
                # Of one aggregate the newest version says it all, and it comes last.
                newest = {id: Lost(id, version, gone[id, version]) for id, version in sorted(gone)}
                for lost in newest.values():
                    self._report(lost)
                for pair in some:
                    self._suspects.pop(pair, None)

    def _report(self, lost: Lost) -> None:
        self.count += 1
        self.latest.append(lost)
        log.error(
            "failover.lost",
            kind=self._kind,
            id=lost.id,
            known=lost.known.token,
            found=lost.found.token,
        )
