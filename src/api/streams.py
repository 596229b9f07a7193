"""Open streams and live sessions: so many for each caller on one server, and how many there are.

Each holds a connection and memory for as long as it likes, which no rate of requests bounds. Bots
and workers (`Right.UNMETERED`) follow as many conversations as they have work in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from src.api.auth.principals import Principal, Right
from src.api.errors import TooManyStreams
from src.api.middleware import Traffic


class Streams:
    """Gives places to those who open one."""

    def __init__(self, traffic: Traffic, most: int) -> None:
        self._traffic = traffic
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def stream(self, caller: Principal) -> Iterator[None]:
        """Count an event stream for the length of the block.

        Raises:
            TooManyStreams: the caller has as many open as it may.
        """
        with self._place(caller):
            self._traffic.streams += 1
            try:
                yield
            finally:
                self._traffic.streams -= 1

    @contextmanager
    def session(self, caller: Principal) -> Iterator[None]:
        """Count a live session; raises what `stream` raises."""
        with self._place(caller):
            self._traffic.live_sessions += 1
            try:
                yield
            finally:
                self._traffic.live_sessions -= 1

    @contextmanager
    def _place(self, caller: Principal) -> Iterator[None]:
        if self._open[caller.id] >= self._most and not caller.may(Right.UNMETERED):
            self._traffic.streams_refused += 1
            raise TooManyStreams(self._most)
        self._open[caller.id] += 1
        try:
            yield
        finally:
            self._open[caller.id] -= 1
            if not self._open[caller.id]:
                del self._open[caller.id]
