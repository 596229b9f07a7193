"""Which of its stores a server has to do without, told in one place.

Entered and left by itself: `/status`, the metrics, the health route and the log read it here, and
whoever must not touch a store that is away asks the breaker of that store.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from enum import StrEnum

import msgspec
import structlog

from src.state.ladder.breaker import Breaker
from src.state.protocols import Clock
from src.state.settings import StateSettings

log = structlog.get_logger(__name__)

_PULLS_UNTIL_OPEN = 2


class Rung(StrEnum):
    """Where on the ladder a server stands."""

    ALL = "all"
    DEAF = "deaf"
    """The subscription to Redis is cut: pulls find what it misses, half a second later."""
    WITHOUT_L2 = "without_l2"
    """Redis is away: reads go from L1 to L3, announcements by NOTIFY."""
    WITHOUT_L3 = "without_l3"
    """PostgreSQL takes no commit: read-only, from L1 and L2, labelled."""
    WITHOUT_BOTH = "without_both"
    """Reads of what L1 has, labelled."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A rung, and since when."""

    rung: Rung
    since: datetime
    for_s: float


class Ladder:
    """The breakers of one server, and the rung that follows from them.

    `durable` is judged by commits: a full disk and a standby answer every SELECT.
    """

    def __init__(self, settings: StateSettings, clock: Clock) -> None:
        self._clock = clock
        # By the pull, so that quicker beats and pulls make for quicker breakers.
        open_after_s = _PULLS_UNTIL_OPEN * settings.pull_interval.total_seconds()
        self.shared = Breaker(clock, proof="pull", open_after_s=open_after_s)
        self.durable = Breaker(clock, proof="beat", open_after_s=open_after_s)
        self.bus = Breaker(clock, proof="subscription", open_after_s=open_after_s)
        self._rung = Rung.ALL
        self._since, self._began = clock.now(), clock.monotonic()
        self.entered: Counter[Rung] = Counter(dict.fromkeys(Rung, 0))
        """How often each rung was entered; the first one counts from the second time on."""
        for breaker in (self.shared, self.durable, self.bus):
            breaker.on_change.append(self._look)

    @property
    def rung(self) -> Rung:
        return self._rung

    @property
    def returning(self) -> bool:
        """Whether a store that is away has begun to answer its probes."""
        return any(breaker.half_open for breaker in (self.shared, self.durable, self.bus))

    @property
    def standing(self) -> Standing:
        return Standing(self._rung, self._since, self._clock.monotonic() - self._began)

    def _look(self) -> None:
        rung = rung_of(self.shared.closed, self.durable.closed, self.bus.closed)
        if rung is self._rung:
            return
        now = self._clock.monotonic()
        report = log.info if rung is Rung.ALL else log.warning
        report("rung.entered", rung=rung, left=self._rung, after_s=round(now - self._began, 3))
        self._rung, self._since, self._began = rung, self._clock.now(), now
        self.entered[rung] += 1


def rung_of(shared: bool, durable: bool, bus: bool) -> Rung:
    """Say where a server stands whose L2, L3 and subscription are there, or not."""
    if not durable:
        return Rung.WITHOUT_L3 if shared else Rung.WITHOUT_BOTH
    if not shared:
        return Rung.WITHOUT_L2
    return Rung.ALL if bus else Rung.DEAF
