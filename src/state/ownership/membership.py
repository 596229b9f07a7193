"""Which servers live: our own beat, and watching the beats of the others.

A server that could not renew its beat in time stops acting as owner before anybody may declare it
dead; both sides count on their own clock only, so no two clocks are ever compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import structlog

from src.state.errors import DurableTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.ladder.ladder import Ladder
from src.state.models import Peer, Places
from src.state.protocols import Clock, Pulled, Registry
from src.state.settings import StateSettings
from src.state.tiers.memory import Lease

log = structlog.get_logger(__name__)

_PROBE = "beat"


def new_server_id() -> str:
    """Name a process: a new one for every start."""
    return f"srv-{uuid.uuid4().hex[:16]}"


class Membership:
    """This server among the servers.

    `lease` runs while our beat is good. `on_deposed` is awaited when somebody declared us dead:
    by then we are registered under a new id and own nothing.
    """

    def __init__(
        self,
        registry: Registry,
        settings: StateSettings,
        clock: Clock,
        url: str,
        lease: Lease,
        *,
        ladder: Ladder,
        guards: Guards = ALL_ON,
        new_id: Callable[[], str] = new_server_id,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._guards = guards
        self._breaker = ladder.durable
        self._beat_s = settings.beat_interval.total_seconds()
        self._again_s = min(settings.pull_interval, settings.beat_interval).total_seconds()
        self._dead_after_s = settings.dead_after.total_seconds()
        self._deadline_s = settings.owner_deadline.total_seconds()
        self._first_poll_gap_s = _gap_limit(settings.pull_interval)
        self.url = url
        self._new_id = new_id
        self.id = new_id()
        self.lease = lease
        self.peers: dict[str, Peer] = {}
        self.places: Callable[[], Places] = Places
        """What each beat says of this server's places for voice rooms."""
        self.on_deposed: Callable[[], Awaitable[None]] | None = None
        self.on_branch: Callable[[], Awaitable[None]] | None = None
        """Awaited when L3 is on another timeline: what is known may be of a lost branch."""
        self.on_death: list[Callable[[str], None]] = []
        """Called with the id of a server that was found dead."""
        self._watched: dict[str, tuple[int, float]] = {}
        self._last_poll = float("-inf")
        self._left = False
        self._beating = asyncio.Lock()
        self.leaving = False
        """This server was told to stop: what it owns goes to the others while it still answers."""
        self.timeline = 0

    async def join(self) -> None:
        """Register and beat once."""
        sent = self._clock.monotonic()
        await self._registry.register(self.id, self.url)
        self._renew(sent)

    async def beat_for_ever(self) -> None:
        """Beat until cancelled. A beat that finds us dead makes this process a new server.

        Beats are commits, so they prove that L3 is back: while it is not, they come as often as
        pulls.
        """
        answered = True
        while not self._left:
            healthy = answered and self._breaker.closed
            await self._clock.sleep(self._beat_s if healthy else self._again_s)
            sent = self._clock.monotonic()
            try:
                await self._beat(sent)
                answered = True
                self._breaker.good(_PROBE)
            except DurableTierUnavailable as error:
                answered = False
                if self._breaker.failed(_PROBE, sent):
                    log.warning("beat.unanswered", server=self.id, error=str(error))

    async def tell(self) -> None:
        """Beat now: the others are to see at once what places this server has.

        Without an answer of PostgreSQL they see it with the next beat.
        """
        if self._left:
            return
        with contextlib.suppress(DurableTierUnavailable):
            await self._beat(self._clock.monotonic())

    async def _beat(self, sent: float) -> None:
        # One at a time: two that find us dead must not make two servers of us.
        async with self._beating:
            if await self._registry.beat(self.id, self.places()):
                self._renew(sent)
            else:
                await self._begin_again()

    def _renew(self, sent: float) -> None:
        if not self._guards.sent:
            sent = self._clock.monotonic()
        self.lease.until = float("inf") if not self._guards.deadline else sent + self._deadline_s

    async def _begin_again(self) -> None:
        if self._left or not self._guards.deadline:
            return
        log.warning("server.deposed", server=self.id)
        self.lease.until = float("-inf")
        self.id = self._new_id()
        if self.on_deposed is not None:
            await self.on_deposed()
        await self.join()

    def note_failed_pull(self) -> None:
        """Start every count anew: while we could not look, others may have beaten."""
        self._recount()

    def _recount(self) -> None:
        if self._guards.recount:
            self._watched.clear()

    async def watch(self, pulled: Pulled) -> None:
        """Take note of the servers' beats and declare dead who stood still for too long."""
        now = self._clock.monotonic()
        if now - self._last_poll > self._first_poll_gap_s:
            # We were blocked or suspended: what stood still may have been we.
            self._recount()
        self._last_poll = now
        self.timeline = pulled.timeline
        before, self.peers = self.peers, {peer.id: peer for peer in pulled.peers}
        for peer in pulled.peers:
            if peer.dead:
                self._watched.pop(peer.id, None)
                known = before.get(peer.id)
                if known is None or not known.dead:
                    self._announce_death(peer.id)
            elif peer.id != self.id:
                await self._watch_one(peer, now)

    async def _watch_one(self, peer: Peer, now: float) -> None:
        beat, since = self._watched.get(peer.id, (-1, now))
        if beat != peer.beat:
            self._watched[peer.id] = (peer.beat, now)
        elif now - since >= self._dead_after_s and await self._registry.declare_dead(
            peer.id, peer.beat
        ):
            log.warning("server.declared_dead", server=peer.id, silent_s=round(now - since, 1))
            self._watched.pop(peer.id, None)
            self.peers[peer.id] = msgspec.structs.replace(peer, dead=True)
            self._announce_death(peer.id)

    def _announce_death(self, server_id: str) -> None:
        for callback in self.on_death:
            callback(server_id)

    def silent_s(self, peer: Peer) -> float:
        """Seconds since this server saw the beat of a living one move; 0 for its own."""
        _, since = self._watched.get(peer.id, (0, self._clock.monotonic()))
        return self._clock.monotonic() - since

    def others(self) -> tuple[str, ...]:
        """Return the living servers beside this one."""
        return tuple(p.id for p in self.peers.values() if not p.dead and p.id != self.id)

    def url_of(self, server_id: str) -> str | None:
        """Return the address of a living server; None when it is dead or unknown."""
        peer = self.peers.get(server_id)
        return None if peer is None or peer.dead else peer.url

    def silent(self) -> tuple[str, ...]:
        """Servers, dead ones included, whose announcements Redis may have missed."""
        return tuple(p.id for p in self.peers.values() if not p.announces)

    def died_silent(self) -> tuple[str, ...]:
        """Those of them that can no longer make good for it themselves."""
        return tuple(p.id for p in self.peers.values() if p.dead and not p.announces)

    async def leave(self) -> None:
        """Say goodbye, so that nobody has to wait for a silence."""
        self._left = True
        self.lease.until = float("-inf")
        await self._registry.leave(self.id)


def _gap_limit(pull_interval: timedelta) -> float:
    return 4 * pull_interval.total_seconds() + 1.0
