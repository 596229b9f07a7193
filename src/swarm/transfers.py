"""Transfers of one kind, so many at once on a server: each holds memory and a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from src.state.buffers import Buffer
from src.state.errors import Overloaded

_RETRY_AFTER_S = 5.0


class Transfers:
    """Who comes when all places are taken is sent away: a line would be waited in for minutes."""

    def __init__(self, what: str, at_once: int) -> None:
        self._what, self._at_once = what, at_once
        self._under_way = self._refused = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {self._what: Buffer(self._under_way, self._at_once, self._refused)}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have a place for the length of the block.

        Raises:
            Overloaded: there is none.
        """
        if self._under_way >= self._at_once:
            self._refused += 1
            raise Overloaded(f"{self._under_way} {self._what} are under way here", _RETRY_AFTER_S)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
