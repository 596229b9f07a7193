"""Rates: how often something may be done, counted over all servers.

A rate is a sliding window, told from two fixed ones: what was counted in this one, and of the one
before the part that the window still covers. Redis counts for all servers; each keeps a copy of
what it was told, which decides alone while Redis is away, and decides at once for reads that may
not wait: those are added to Redis's count a moment later, many in one trip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from cachetools import LRUCache
from pydantic import PlainValidator

from src.state.buffers import Buffer
from src.state.durations import parse_duration
from src.state.errors import SharedTierUnavailable
from src.state.protocols import Clock

_MAX_TALLIES = 50_000
_PUSH_INTERVAL_S = 0.25
_PUSHED_AT_ONCE = 500
_RATE = re.compile(r"([1-9]\d{0,8})\s*/\s*(.+)")


class Rate(msgspec.Struct, frozen=True, gc=False):
    """So many times in any window of so many seconds."""

    count: int
    window_s: float


def parse_rate(value: object) -> Rate:
    """Read a rate as a setting gives it: `60/1m`.

    Raises:
        ValueError: no count, or no duration.
    """
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no rate; write 60/1m for sixty times a minute")
    return Rate(int(found[1]), parse_duration(found[2]).total_seconds())


RateSetting = Annotated[Rate, PlainValidator(parse_rate)]
"""A rate that a setting gives as text."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """A count: in this fixed window, in the one before, and the seconds since this one began."""

    here: int
    before: int
    passed_s: float
    taken: bool = True


class Asked(msgspec.Struct, frozen=True, gc=False):
    """`wanted` more of `name`, if its rate has room; `done` more in any case."""

    name: str
    rate: Rate
    wanted: int = 1
    done: int = 0


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether there was room, how much there is now, and when there is more."""

    name: str
    rate: Rate
    allowed: bool
    remaining: int
    reset_s: float
    """Until the fixed window ends."""
    retry_s: float
    """Until there is room for one again; 0 when there is."""


class SharedRates(Protocol):
    """The count of all servers."""

    async def add(self, asked: Sequence[Asked]) -> Sequence[Told]:
        """Count, in one trip; each by itself, answered in order.

        Raises:
            SharedTierUnavailable: no answer; it may have been counted.
        """


def used(told: Told, rate: Rate) -> float:
    """Return how much of a rate is used: the window before counts for the part still covered."""
    return told.here + told.before * (1 - told.passed_s / rate.window_s)


def judge(asked: Asked, told: Told) -> Verdict:
    """Return what follows from a count."""
    rate = asked.rate
    rest_s = rate.window_s - told.passed_s
    left = rate.count - used(told, rate)
    if left >= 1:
        retry_s = 0.0
    elif told.here < rate.count:
        # Within this window: as the one before slides out.
        retry_s = rest_s - (rate.count - 1 - told.here) * rate.window_s / told.before
    else:
        retry_s = rest_s + rate.window_s * (1 - (rate.count - 1) / told.here)
    return Verdict(asked.name, rate, told.taken, max(0, int(left)), rest_s, max(0.0, retry_s))


class _Tally:
    """This server's copy of a count. `began` on the clock's monotonic scale."""

    __slots__ = ("before", "began", "here", "rate", "unpushed")

    def __init__(self, rate: Rate, began: float) -> None:
        self.rate = rate
        self.began = began
        self.here = self.before = self.unpushed = 0

    def told(self, at: float, *, taken: bool = True) -> Told:
        """Return the count now, in the window that it is by now."""
        windows = int((at - self.began) // self.rate.window_s)
        if windows >= 1:
            self.before = self.here if windows == 1 else 0
            self.here = 0
            self.began += windows * self.rate.window_s
        return Told(self.here, self.before, at - self.began, taken)

    def learn(self, told: Told, at: float) -> None:
        """Take over what Redis counts, and what it was not told yet."""
        self.began = at - told.passed_s
        self.here = told.here + self.unpushed
        self.before = told.before


class Rates:
    """Takes what is asked for out of its rates, for all servers together."""

    def __init__(self, shared: SharedRates, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._tallies: LRUCache[str, _Tally] = LRUCache(_MAX_TALLIES)
        self._unpushed: dict[str, _Tally] = {}
        self._forgotten = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here; a copy that is forgotten is asked for again."""
        return {"rates": Buffer(len(self._tallies), _MAX_TALLIES, self._forgotten)}

    async def take(self, wanted: Sequence[tuple[str, Rate]]) -> Verdict:
        """Count one of each; return the verdict that refuses, else the one with the least room.

        A rate does not count what it refuses; the others do. Without Redis they are this server's
        own.
        """
        tallies = [self._tally(name, rate) for name, rate in wanted]
        # Taken over before the trip: what is counted meanwhile is for the next one.
        asked = [
            Asked(name, rate, done=self._claim(name, tally))
            for (name, rate), tally in zip(wanted, tallies, strict=True)
        ]
        try:
            answers = await self._shared.add(asked)
        except SharedTierUnavailable:
            answers = [self._alone(tally) for tally in tallies]
        else:
            at = self._clock.monotonic()
            for tally, told in zip(tallies, answers, strict=True):
                tally.learn(told, at)
        verdicts = [judge(one, told) for one, told in zip(asked, answers, strict=True)]
        return min(verdicts, key=lambda one: (one.allowed, one.remaining))

    async def seen(self, name: str, rate: Rate) -> bool:
        """Say whether anything was counted under a name within the rate's window, or the one
        before; counts nothing. Without Redis: whether this server counted it.
        """
        try:
            told = (await self._shared.add([Asked(name, rate, 0)]))[0]
        except SharedTierUnavailable:
            told = self._tally(name, rate).told(self._clock.monotonic())
        return told.here + told.before > 0

    def take_at_once(self, wanted: Sequence[tuple[str, Rate]]) -> Verdict | None:
        """Count one of each here and tell Redis soon; None: ask `take`, here it is not clear."""
        at = self._clock.monotonic()
        tallies = []
        for name, rate in wanted:
            tally = self._tallies.get(name)
            if tally is None or tally.rate != rate or used(tally.told(at), rate) + 1 > rate.count:
                return None
            tallies.append((name, tally))
        verdicts = []
        for name, tally in tallies:
            tally.here += 1
            tally.unpushed += 1
            self._unpushed[name] = tally
            verdicts.append(judge(Asked(name, tally.rate), tally.told(at)))
        return min(verdicts, key=lambda one: one.remaining)

    async def push_for_ever(self) -> None:
        """Tell Redis four times a second what was taken at once."""
        while True:
            await self._clock.sleep(_PUSH_INTERVAL_S)
            await self.push()

    async def push(self) -> None:
        """Tell Redis what was taken at once, and learn what the others took."""
        while self._unpushed:
            names = list(self._unpushed)[:_PUSHED_AT_ONCE]
            tallies = [self._unpushed[name] for name in names]
            asked = [
                Asked(name, tally.rate, 0, self._claim(name, tally))
                for name, tally in zip(names, tallies, strict=True)
            ]
            try:
                answers = await self._shared.add(asked)
            except SharedTierUnavailable:
                # They stay counted here, which is what counts while Redis is away.
                continue
            at = self._clock.monotonic()
            for tally, told in zip(tallies, answers, strict=True):
                tally.learn(told, at)

    def _tally(self, name: str, rate: Rate) -> _Tally:
        tally = self._tallies.get(name)
        if tally is None or tally.rate != rate:
            self._forgotten += tally is None and len(self._tallies) >= _MAX_TALLIES
            tally = self._tallies[name] = _Tally(rate, self._clock.monotonic())
        return tally

    def _claim(self, name: str, tally: _Tally) -> int:
        self._unpushed.pop(name, None)
        done, tally.unpushed = tally.unpushed, 0
        return done

    def _alone(self, tally: _Tally) -> Told:
        at = self._clock.monotonic()
        taken = used(tally.told(at), tally.rate) + 1 <= tally.rate.count
        tally.here += taken
        return tally.told(at, taken=taken)
