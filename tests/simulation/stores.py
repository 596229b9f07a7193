"""The model stores with what real ones do to those who use them: late, lost and crossing messages,
old dumps, other lives. Ids are counted, not drawn, so that a run can be repeated exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from copy import copy

import msgspec

from src.state.models import Version
from src.state.tiers.keys import PARTITIONS
from src.state.tiers.memory_database import MemoryDatabase
from src.state.tiers.memory_space import Cell, Counter, MemorySpace


class Weather(msgspec.Struct, frozen=True):
    """What happens to messages on their way: shares of them, and seconds."""

    lost: float = 0.0
    late: float = 0.0
    most_s: float = 0.0


CALM = Weather()


class _Post:
    """Carries messages through the weather; late ones may overtake each other."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.weather = CALM

    def carry(self, put: Callable[[], None]) -> None:
        weather = self.weather
        if weather is CALM:
            put()
            return
        drawn = self._chance.random()
        if drawn < weather.lost:
            return
        if drawn < weather.lost + weather.late:
            delay = self._chance.uniform(0.0, weather.most_s)
            asyncio.get_running_loop().call_later(delay, put)
            return
        put()


class Space(MemorySpace):
    """Redis."""

    def __init__(self, chance: random.Random) -> None:
        self._lives = 0
        self.post = _Post(chance)
        super().__init__(run_id=self._name("run"), counters=self._counters())
        self._dump = self._copy()

    def _name(self, of: str) -> str:
        self._lives += 1
        return f"{of}{self._lives}"

    def _counters(self) -> list[Counter]:
        life = self._name("life")
        return [Counter(f"{life}-{partition}") for partition in range(PARTITIONS)]

    def _copy(self) -> tuple[dict[tuple[str, str], Cell], list[Counter]]:
        counters = [Counter(one.incarnation, one.n, dict(one.kept)) for one in self.counters]
        return {name: copy(cell) for name, cell in self.cells.items()}, counters

    def cell(self, kind: str, id: str, now: float) -> Cell | None:
        return super().cell(kind, id, _own_time())

    def raise_head(self, kind: str, id: str, version: Version, now: float, ttl: float) -> Cell:
        return super().raise_head(kind, id, version, _own_time(), ttl)

    def deliver(self, partition: int, message: bytes) -> None:
        for queue in self.subscriptions:
            self.post.carry(lambda queue=queue: queue.put_nowait((partition, message)))  # type: ignore[misc]

    def renew(self) -> None:
        self.counters = self._counters()

    def restart(self) -> None:
        self.run_id = self._name("run")
        self.cut_subscriptions()

    def save(self) -> None:
        """Write a dump."""
        self._dump = self._copy()

    def restart_from_dump(self) -> None:
        """Come back as another process, with the data of the last dump."""
        dump, self._dump = self._dump, self._copy()
        self.cells, self.counters = dump
        self.restart()


def _own_time() -> float:
    """Redis counts on its own clock, whatever the asker's says."""
    return asyncio.get_running_loop().time()


class Database(MemoryDatabase):
    """PostgreSQL."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.post = _Post(chance)

    def notify(self, message: bytes) -> None:
        for queue in self.listeners:
            self.post.carry(lambda queue=queue: queue.put_nowait(message))  # type: ignore[misc]

    def cut_sessions(self) -> None:
        """Break the sessions that listen."""
        for queue in self.listeners:
            queue.put_nowait(None)
