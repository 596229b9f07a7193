"""Following the changes of configs: all of them, in the order of their commits, from any place on.

The pull that every server makes anyway brings the newest rows of the outbox; who follows them here
costs no query of its own. Who comes from further back reads the table until it has caught up. A
follower holds a place and no rows, so a slow one takes no memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from src.state.buffers import Buffer
from src.state.errors import DurableTierUnavailable
from src.state.models import Change, Version
from src.state.protocols import Pulled
from src.state.reads.single_flight import SingleFlight
from src.state.records import erasures, revocations
from src.state.records.outbox import Page

_RING = 1000
_PAGE = 200
_RETRY_S = 0.5
_FOR_SERVERS = revocations.KINDS | {erasures.ERASED}


class Tail(Protocol):
    """Where the feed reads what it no longer, or not yet, has: the outbox."""

    async def after(self, position: int, limit: int) -> Page:
        """Return the changes beyond a position, in order."""


class Reset(msgspec.Struct, frozen=True, gc=False):
    """What came before `position` cannot be told any more: read everything anew, then go on."""

    position: int


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """Which changes somebody wants to hear of; an empty set stands for all.

    Who was logged out, and what was erased, is for servers alone.
    """

    kinds: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def has(self, change: Change) -> bool:
        """Whether this is one of them."""
        return (
            (not self.kinds or change.kind in self.kinds)
            and (not self.ids or change.id in self.ids)
            and change.kind not in _FOR_SERVERS
        )


class Follower:
    """One reader. `place` is where to go on: (timeline of PostgreSQL, position in the outbox)."""

    def __init__(self, feed: ChangeFeed, place: Version, wanted: Wanted) -> None:
        self.place = place
        self._feed = feed
        self._wanted = wanted
        self._woken = asyncio.Event()
        self._over = False

    def wake(self) -> None:
        """Look whether there is something new."""
        self._woken.set()

    def end(self) -> None:
        """Give nothing more: PostgreSQL has gone to another branch of its history."""
        self._over = True
        self._woken.set()

    async def events(self) -> AsyncGenerator[Change | Reset, None]:
        """Give what is wanted beyond the place, each once, those to come as they are committed.

        A `Reset` comes first when the place is unknown here, and whenever the outbox was cut
        before a slow follower had read it.
        """
        while not self._over:
            self._woken.clear()
            page = await self._feed.read(self.place)
            if page is None:
                await asyncio.sleep(_RETRY_S)
            elif isinstance(page, Reset):
                self.place = Version(self._feed.timeline, page.position)
                yield page
            elif page:
                for change in page:
                    self.place = Version(self.place.epoch, change.position)
                    if self._wanted.has(change):
                        yield change
            else:
                await self._woken.wait()


class ChangeFeed:
    """The newest changes, and who follows them."""

    def __init__(self, outbox: Tail, timeline: Callable[[], int], position: int) -> None:
        self._outbox = outbox
        self._timeline = timeline
        self._ring: deque[Change] = deque()
        self._floor = self._newest = position
        """The ring has every change with a position above the first and up to the second."""
        self._seen_timeline = 0
        self._followers: set[Follower] = set()
        self._reads: SingleFlight[Page] = SingleFlight()

    def __len__(self) -> int:
        """How many follow."""
        return len(self._followers)

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {"change_followers": len(self)}

    @property
    def timeline(self) -> int:
        """The branch of PostgreSQL's history to which positions belong."""
        return self._timeline()

    @property
    def place(self) -> Version:
        """Where the newest change stands that this server has heard of."""
        return Version(self.timeline, self._newest)

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: who needs older changes reads them from PostgreSQL."""
        return {"changes": Buffer(len(self._ring), _RING)}

    def pulled(self, pulled: Pulled) -> None:
        """Take what a pull saw."""
        another = pulled.timeline != self._seen_timeline != 0
        self._seen_timeline = pulled.timeline
        if another or pulled.outbox_position < self._newest:
            self._ring.clear()
            self._floor = pulled.outbox_position
            for follower in self._followers:
                follower.end()
        else:
            self._ring.extend(pulled.changes)
        self._newest = pulled.outbox_position
        while len(self._ring) > _RING:
            self._floor = self._ring.popleft().position
        if pulled.changes:
            for follower in self._followers:
                follower.wake()

    def follower(self, place: Version | None, wanted: Wanted) -> Follower:
        """Return a reader from a place on; without one, from now on."""
        return Follower(self, place or self.place, wanted)

    @contextmanager
    def following(self, follower: Follower) -> Iterator[None]:
        """Keep a reader awake for the length of the block."""
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)

    async def read(self, place: Version) -> Sequence[Change] | Reset | None:
        """Return the changes next to a place; None while PostgreSQL is away."""
        if place.epoch == self.timeline and self._floor <= place.seq <= self._newest:
            return self._kept(place.seq)
        try:
            # A read begun before a later pull is no answer to who has heard of that.
            flight = f"{place.seq}:{self._newest}"
            page = await self._reads.do(flight, lambda: self._outbox.after(place.seq, _PAGE))
        except DurableTierUnavailable:
            return None
        if page.missing or place.epoch != self.timeline:
            return Reset(page.newest)
        return page.changes

    def _kept(self, position: int) -> Sequence[Change]:
        newer: list[Change] = []
        for change in reversed(self._ring):
            if change.position <= position:
                break
            newer.append(change)
        # The oldest first, and no more of them than a page of the table has.
        return newer[::-1][:_PAGE]

    async def aclose(self) -> None:
        """Cancel reads that are under way."""
        await self._reads.aclose()
