"""Whether a store may be relied on, and the way to it, which is shut while it may not.

Nobody's request finds out whether a store is back. The loops that have to reach it anyway (beats,
pulls, an append sent again until it is answered) are the probes: they never stop, go past the
breaker, and tell it how they fared. So an open breaker is half-open all the time, one probe of a
kind under way, and callers are answered without waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from src.state.cutting import cut_short
from src.state.errors import StateError, TierUnavailable
from src.state.protocols import Clock


class Breaker:
    """Closed while a store answers; a decision over time, without I/O.

    It opens when a probe has had no answer for `open_after_s` seconds, counted from when the first
    unanswered try was sent: a connection that broke and came back opens nothing, a try that ran
    into its time-out does at once. It closes after `close_after` proofs in a row, with no probe
    unanswered meanwhile, so a store that comes and goes faster than that stays out.
    """

    def __init__(
        self, clock: Clock, *, proof: str, open_after_s: float, close_after: int = 3
    ) -> None:
        self._clock = clock
        self._proof = proof
        self._open_after_s = open_after_s
        self._close_after = close_after
        self._unanswered: dict[str, float] = {}
        self._proofs = 0
        self.closed = True
        self.on_change: list[Callable[[], None]] = []
        """Called when it has opened or closed."""

    @property
    def half_open(self) -> bool:
        """Open, and the newest proof was good."""
        return not self.closed and self._proofs > 0

    def good(self, probe: str) -> None:
        """Note that a probe was answered. Only the one named `proof` helps to close."""
        self._unanswered.pop(probe, None)
        if self.closed or self._unanswered or probe != self._proof:
            return
        self._proofs += 1
        if self._proofs >= self._close_after:
            self._turn(closed=True)

    def failed(self, probe: str, sent: float) -> bool:
        """Note a try that was sent at `sent` and not answered; True when it is the first in a row.

        `sent` is on the clock's monotonic scale.
        """
        news = probe not in self._unanswered
        first = self._unanswered.setdefault(probe, sent)
        self._proofs = 0
        if self.closed and self._clock.monotonic() - first >= self._open_after_s:
            self._turn(closed=False)
        return news

    @contextmanager
    def probe(self, probe: str) -> Iterator[None]:
        """Note how the try in this block fares. An error that is an answer is one."""
        sent = self._clock.monotonic()
        try:
            yield
        except TierUnavailable:
            self.failed(probe, sent)
            raise
        except StateError:
            self.good(probe)
            raise
        self.good(probe)

    def _turn(self, *, closed: bool) -> None:
        self.closed = closed
        self._proofs = 0
        for callback in self.on_change:
            callback()


class Way:
    """The way of requests to a store. `error` is raised at once while the breaker is open."""

    def __init__(self, breaker: Breaker, error: type[TierUnavailable], store: str) -> None:
        self._breaker = breaker
        self._error = error
        self._store = store
        self._under_way: set[asyncio.Timeout] = set()
        breaker.on_change.append(self._turn_back)

    @asynccontextmanager
    async def trip(self) -> AsyncIterator[None]:
        """Go there and back. Who is under way when the breaker opens does not wait for the end.

        Raises:
            TierUnavailable: of the kind given, when the breaker is open or opens meanwhile.
        """
        if not self._breaker.closed:
            raise self._error(f"{self._store} is away; it is asked again all the time")
        try:
            async with asyncio.timeout(None) as patience:
                self._under_way.add(patience)
                try:
                    yield
                finally:
                    self._under_way.discard(patience)
        except TimeoutError as error:
            raise self._error(f"{self._store} went away before it answered") from error

    def _turn_back(self) -> None:
        if not self._breaker.closed:
            for patience in self._under_way:
                cut_short(patience)
