"""Hearing: apply numbered messages in order, replay gaps, and pull so that nothing is missed.

Three ways lead to the same place. The subscription is fast; the pull finds what a dead or deaf
subscription missed within half a second; the replay fills gaps of either. Only while a pull is
recent may copies of what others own be answered as fresh.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from src.invalidation.messages import Message
from src.invalidation.protocols import Bus, Notices, Position, Subscriber
from src.state.background import background
from src.state.errors import DurableTierUnavailable, SharedTierUnavailable, Undecodable
from src.state.guards import ALL_ON, Guards
from src.state.ladder.ladder import Ladder
from src.state.ownership.membership import Membership
from src.state.protocols import Clock, Pulled, Registry
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.keys import PARTITIONS
from src.state.tiers.memory import Lease

log = structlog.get_logger(__name__)

_UNKNOWN = Position("", 0)
_RECONNECT_S = 0.2
_REDIS, _POSTGRES = "redis", "postgres"
_PROBE = "pull"
_SUBSCRIPTION = "subscription"


class Listener:
    """Keeps a server's copies honest. `heard` runs while it can vouch for having heard all.

    `told` runs while it can vouch for what is in the outbox, whatever became of Redis.
    """

    def __init__(
        self,
        bus: Bus,
        notices: Notices,
        registry: Registry,
        membership: Membership,
        subscriber: Subscriber,
        incarnations: Incarnations,
        settings: StateSettings,
        clock: Clock,
        *,
        heard: Lease,
        ladder: Ladder,
        outbox_position: int = 0,
        told: Lease | None = None,
        guards: Guards = ALL_ON,
    ) -> None:
        self._bus, self._notices, self._registry = bus, notices, registry
        self._membership = membership
        self._subscriber = subscriber
        self._incarnations = incarnations
        self._clock = clock
        self._heard = heard
        self._told = told
        self._ladder = ladder
        self._guards = guards
        self._pull_s = settings.pull_interval.total_seconds()
        self._trust_s = settings.pull_deadline.total_seconds()
        self._positions = [_UNKNOWN] * PARTITIONS
        self._run = ""
        """Which process Redis was at the last pull."""
        self._outbox_position = outbox_position
        self.on_pull: list[Callable[[Pulled], None]] = []
        """Called with what a good pull of PostgreSQL saw, each pull after the one before."""
        self.applied = 0
        self.gaps = 0
        self.clears = 0
        self._pulled = {_REDIS: float("-inf"), _POSTGRES: float("-inf")}
        """When the last good pull of each store began."""
        self._subscribed = self._broke = False
        self._timeline = membership.timeline
        """The branch of L3 that copies in L2 must belong to; known here before all is dropped."""

    # -- messages --------------------------------------------------------------------------------

    async def apply(self, message: Message) -> None:
        """Apply a message of the subscription; replay or doubt what lies before it."""
        known = self._positions[message.partition]
        if not known.incarnation.startswith(f"{message.incarnation}:"):
            # Another life of the counter. Which run of Redis it is only a pull can say.
            self._tell(message)
            await self._catch_up()
            return
        if message.n <= known.n:
            return
        if message.n > known.n + 1:
            await self._close_gap(message.partition, known, message.n - 1)
        self._advance(message)

    def _advance(self, message: Message) -> None:
        known = self._positions[message.partition]
        # A replay may end in another life of the counter than the one it began in.
        if message.n > known.n and known.incarnation.startswith(f"{message.incarnation}:"):
            self._positions[message.partition] = Position(known.incarnation, message.n)
        self._tell(message)

    def _tell(self, message: Message) -> None:
        if message.origin == self._membership.id:
            return
        self.applied += len(message.changes)
        for change in message.changes:
            self._subscriber.heard(change)

    async def _close_gap(self, partition: int, known: Position, upto: int) -> None:
        self.gaps += 1
        if not self._guards.replay:
            self._positions[partition] = Position(known.incarnation, upto)
            return
        try:
            missed = await self._bus.replay(partition, known.n, upto)
        except (SharedTierUnavailable, Undecodable):
            missed = None
        if missed is None:
            self._doubt(partition)
            current = self._positions[partition]
            if current.incarnation == known.incarnation and current.n < upto:
                self._positions[partition] = Position(known.incarnation, upto)
            return
        for message in missed:
            self._advance(message)

    def _doubt(self, partition: int | None) -> None:
        self.clears += 1
        self._subscriber.doubt(partition)

    # -- pulls -----------------------------------------------------------------------------------

    async def pull_for_ever(self, pull: Callable[[], Awaitable[None]]) -> None:
        """Pull until cancelled. Each store by itself: one that hangs must not hide the other."""
        while True:
            await pull()
            await self._clock.sleep(self._pull_s)

    async def pull(self) -> None:
        """Ask both stores what was missed; renew the lease if both ways of hearing are sound."""
        await self.pull_postgres()
        await self.pull_redis()

    def _sound(self, store: str, began: float) -> None:
        if store == _POSTGRES and self._told is not None:
            self._told.until = began + self._trust_s
        self._pulled[store] = began if self._guards.sent else self._clock.monotonic()
        if not (self._guards.silent and self._membership.silent()):
            self._heard.until = min(self._pulled.values()) + self._trust_s

    async def pull_redis(self) -> None:
        """Ask Redis what the subscription missed."""
        began, breaker = self._clock.monotonic(), self._ladder.shared
        try:
            await self._pull_redis()
        except SharedTierUnavailable as error:
            self._incarnations.doubt()
            if breaker.failed(_PROBE, began):
                log.warning("l2.unavailable", error=str(error))
            return
        breaker.good(_PROBE)
        self._judge_subscription(began)
        self._sound(_REDIS, began)

    def _judge_subscription(self, now: float) -> None:
        """It counts as cut while each pull finds that it broke since the one before."""
        if self._subscribed and not self._broke:
            self._ladder.bus.good(_SUBSCRIPTION)
        else:
            self._ladder.bus.failed(_SUBSCRIPTION, now)
        self._broke = False

    async def _catch_up(self) -> None:
        try:
            await self._pull_redis()
        except SharedTierUnavailable:
            # The next pull finds the same, and says so.
            self._incarnations.doubt()

    async def pull_postgres(self) -> None:
        """Ask PostgreSQL who lives and which configs changed."""
        breaker, more = self._ladder.durable, True
        try:
            # Nobody may vouch for having heard all while the rest of a long outbox is still unread.
            while more:
                began = self._clock.monotonic()
                pulled = await self._registry.pull(self._outbox_position)
                await self._note(pulled)
                more = pulled.more
        except DurableTierUnavailable as error:
            if breaker.failed(_PROBE, began):
                log.warning("l3.unavailable", error=str(error))
            self._membership.note_failed_pull()
            return
        breaker.good(_PROBE)
        self._sound(_POSTGRES, began)

    async def _pull_redis(self) -> None:
        doubts, before = self._incarnations.doubts, list(self._positions)
        positions = await self._bus.positions()
        self._run = positions[0].incarnation.rpartition(":")[2]
        for partition, found in enumerate(positions):
            # Of the timeline too: bodies folded from a lost branch of L3 are of another life.
            now = Position(f"{found.incarnation}:{self._timeline}", found.n)
            known = self._positions[partition]
            another = self._incarnations.learn(partition, now.incarnation)
            if another and (self._guards.incarnation or known == _UNKNOWN):
                self._positions[partition] = now
                self._doubt(partition)
            elif now.n > known.n and self._guards.pull:
                await self._close_gap(partition, known, now.n)
            elif now.incarnation == before[partition].incarnation and now.n < before[partition].n:
                # Less than was known before it was asked: its data was replaced, and what was
                # heard of the earlier one would hide as many of this one.
                self._positions[partition] = now
                self._doubt(partition)
        self._incarnations.certain(doubts)

    async def _note(self, pulled: Pulled) -> None:
        before = self._membership.timeline
        if before not in (0, pulled.timeline):
            # PostgreSQL failed over or was restored: what we hold may be of the lost branch.
            log.warning("l3.timeline_changed", before=before, now=pulled.timeline)
            self._timeline = pulled.timeline
            # Nothing in L2 is an answer until Redis was pulled under the new timeline.
            for partition in range(PARTITIONS):
                self._incarnations.learn(partition, "")
            self._doubt(None)
            if self._membership.on_branch is not None:
                await self._membership.on_branch()
        await self._membership.watch(pulled)
        self._timeline = pulled.timeline
        for change in pulled.changes:
            self._subscriber.heard(change.announcement)
        self._outbox_position = pulled.outbox_position
        for callback in self.on_pull:
            callback(pulled)

    # -- subscriptions ---------------------------------------------------------------------------

    async def subscribe_for_ever(self) -> None:
        """Hold the subscription to Redis until cancelled."""
        while True:
            try:
                async with self._bus.subscribe() as messages:
                    # What was announced before the subscription stood is found by this pull.
                    await self._catch_up()
                    run, self._subscribed = self._run, True
                    async for message in messages:
                        if run != self._run:
                            # It may have been left in a dead connection, and would hide others.
                            raise SharedTierUnavailable("Redis is another process by now")
                        await self.apply(message)
            except SharedTierUnavailable as error:
                if self._subscribed:
                    log.warning("subscription.broke", error=str(error))
            except Undecodable as error:
                log.warning("message.undecodable", error=str(error))
                self._doubt(None)
            self._subscribed, self._broke = False, True
            self._incarnations.doubt()
            await self._clock.sleep(_RECONNECT_S)

    async def hear_notices_for_ever(self) -> None:
        """Hold the second subscription, to PostgreSQL, until cancelled."""
        listening = False
        while True:
            try:
                async with self._notices.subscribe() as messages:
                    listening = True
                    async for message in messages:
                        self._tell(message)
            except (DurableTierUnavailable, Undecodable) as error:
                if listening:
                    log.warning("notices.broke", error=str(error))
            listening = False
            await self._clock.sleep(_RECONNECT_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hear everything for the length of the block; on entry the first pull was made."""
        await self.pull()
        async with background(
            self.subscribe_for_ever(),
            self.hear_notices_for_ever(),
            self.pull_for_ever(self.pull_postgres),
            self.pull_for_ever(self.pull_redis),
        ):
            yield
