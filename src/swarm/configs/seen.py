"""Configs as this server has seen them, at hand without waiting.

One that was read holds for as long as this server hears of every edit and has heard of none of it:
a good pull of PostgreSQL's outbox tells of all that was committed before the pull began. What was
edited is read anew by itself, so that the last known is the newest when PostgreSQL goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from cachetools import LRUCache

from src.state.buffers import Buffer
from src.state.configs import Record
from src.state.errors import (
    Behind,
    DurableTierUnavailable,
    Overloaded,
    StateError,
    TierUnavailable,
    Undecodable,
)
from src.state.models import ZERO, Version
from src.state.protocols import Clock
from src.state.tiers.memory import Lease
from src.swarm.configs.curricula import Curricula
from src.swarm.configs.service import ConfigService
from src.swarm.configs.settings import VALUES

log = structlog.get_logger(__name__)

Name = tuple[str, str]
"""(kind, id) of a config."""

UNREADABLE = (TierUnavailable, Undecodable)
"""What a newer release has written is for this one as if it could not be asked for."""

_MOST = 4096
_HOLD_S = 0.5
"""How long a read counts while nobody can say what was edited since: the time between a pull that
is still good and the two seconds after which every edit has to be obeyed."""
_AGAIN_S = 1.0


class _Seen:
    """What is known of one config."""

    __slots__ = ("began", "current", "heard", "read", "record", "until", "version")

    def __init__(self) -> None:
        self.read = False
        self.record: Record[Any] | None = None
        """As it was last read; None: there was none."""
        self.version = self.heard = ZERO
        """The version that was read, of a deleted one too, and the newest that was heard of."""
        self.current = False
        """Nothing newer was heard of."""
        self.began = self.until = float("-inf")
        """When the last read began, and until when it counts by itself."""


class SeenConfigs:
    """What this server knows of configs. `told` runs while it has heard of every edit."""

    def __init__(
        self, configs: ConfigService, told: Lease, is_away: Callable[[], bool], clock: Clock
    ) -> None:
        self._configs, self._told, self._is_away, self._clock = configs, told, is_away, clock
        self._seen: LRUCache[Name, _Seen] = LRUCache(_MOST)
        self.curricula = Curricula(configs, is_away)
        self._edited: dict[Name, None] = dict.fromkeys(("setting", key) for key in VALUES)
        self._wake = asyncio.Event()
        self._wake.set()

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: what is forgotten is read again."""
        return {"seen_configs": Buffer(len(self._seen), _MOST), **self.curricula.buffers()}

    # -- at hand ---------------------------------------------------------------------------------

    def certain(self, kind: str, id: str) -> tuple[bool, Record[Any] | None]:
        """Return whether it is certain how the config is now, and the config; None: there is none.

        It is as somebody made it who was told so less than two seconds ago, or newer.
        """
        seen, now = self._seen.get((kind, id)), self._clock.monotonic()
        if seen is None or not seen.read:
            return False, None
        return (seen.current and now < self._told.until) or now < seen.until, seen.record

    def last(self, kind: str, id: str) -> tuple[bool, Record[Any] | None]:
        """Return whether the config was ever read here, and how it was last."""
        seen = self._seen.get((kind, id))
        return (False, None) if seen is None else (seen.read, seen.record)

    # -- reading ---------------------------------------------------------------------------------

    async def read(self, kind: str, id: str) -> Record[Any] | None:
        """Read a living config through the tiers; None: there is none. It is at hand then.

        Raises:
            DurableTierUnavailable: it cannot be read now.
            Undecodable: a newer release has written it.
        """
        if self._is_away() and (known := self.last(kind, id))[0]:
            # As it was last: to ask who cannot answer would take long, for each turn again.
            return known[1]
        seen = self._seen.setdefault((kind, id), _Seen())
        began, heard = self._clock.monotonic(), seen.heard
        try:
            read = await self._configs.read(kind, id, at_least=heard if heard > ZERO else None)
        except Behind as error:
            raise DurableTierUnavailable(str(error)) from error
        record = None if read is None or read.entry.state.deleted else read.entry.state
        if read is not None and read.stale_s is not None:
            if not seen.read:
                seen.read, seen.record, seen.version = True, record, read.entry.version
            raise DurableTierUnavailable(f"{kind} {id!r}: there is only an old copy of it")
        if began >= seen.began:
            seen.read, seen.record, seen.began = True, record, began
            seen.version = ZERO if read is None else read.entry.version
            seen.current = seen.heard <= seen.version
            seen.until = began + _HOLD_S if seen.current else float("-inf")
        return record

    async def read_or_last(self, kind: str, id: str) -> Record[Any] | None:
        """Read a config; what cannot be read now counts as it was last.

        Raises:
            DurableTierUnavailable, Undecodable: it cannot be read now, and never was.
        """
        try:
            return await self.read(kind, id)
        except UNREADABLE as error:
            log.warning("config.unreadable", kind=kind, id=id, error=str(error))
            known, record = self.last(kind, id)
            if not known:
                raise
            return record

    # -- hearing ---------------------------------------------------------------------------------

    def heard(self, kind: str, id: str, version: Version) -> None:
        """Note that a version exists: an older one is certain no more."""
        seen = self._seen.get((kind, id))
        if seen is None or version <= seen.heard:
            return
        seen.heard = version
        if version > seen.version:
            seen.current, seen.until = False, float("-inf")
            self._read_again((kind, id))

    def branched(self) -> None:
        """Doubt everything: PostgreSQL is on another branch of its history."""
        for seen in self._seen.values():
            seen.heard, seen.current, seen.until = ZERO, False, float("-inf")
        self._read_again(*self._seen)

    def _read_again(self, *names: Name) -> None:
        self._edited.update(dict.fromkeys(names))
        self._wake.set()

    async def run(self) -> None:
        """Read the global settings, then what is edited, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._edited:
                name = next(iter(self._edited))
                del self._edited[name]
                if not await self._was_told(*name):
                    self._edited[name] = None
                    await self._clock.sleep(_AGAIN_S)

    async def _was_told(self, kind: str, id: str) -> bool:
        """Read a config; whether there was an answer, of whatever kind."""
        try:
            if self._is_away():
                return False
            await self.read(kind, id)
        except (TierUnavailable, Overloaded):
            return False
        except StateError as error:
            # To ask again would give the same: whoever needs it will be told.
            log.warning("config.unreadable", kind=kind, id=id, error=str(error))
        return True
