"""Work that one server does for all: relays, retention, sweeps.

Each duty is a row in L3, owned the way conversations are: whoever finds it without a living owner
takes it and raises its epoch. A leader that was paused may wake up in the middle of a run that
another one has begun anew, so a run must be repeatable, and a statement whose outcome must not be
written twice compares the `Term` it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from src.state.background import background
from src.state.cutting import cut_short
from src.state.errors import DurableTierUnavailable, StateError
from src.state.models import Term
from src.state.ownership.membership import Membership
from src.state.protocols import Clock, Duties
from src.state.tiers.memory import Lease

log = structlog.get_logger(__name__)

_LOOK_S = 1.0
"""How often a server looks whether a duty is its own: a dead leader's wait this much longer."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Work for one server at a time."""

    name: str
    """The same on all servers."""
    interval: timedelta
    """Pause between the end of one run and the next."""
    run: Callable[[Term], Awaitable[None]]
    """One run. It is repeatable, and is cancelled when another server takes the duty. What it
    raises is logged; the next run comes after the pause."""


class Leader:
    """Takes duties that nobody living has, and runs those that are this server's.

    A server that leaves or dies gives up its duties with its row in `servers`: nothing has to be
    released.
    """

    def __init__(self, duties: Duties, membership: Membership, owned: Lease, clock: Clock) -> None:
        self._rows = duties
        self._membership = membership
        self._owned = owned
        self._clock = clock
        self._duties: dict[str, Duty] = {}
        self._terms: dict[str, Term] = {}
        self._under_way: dict[str, tuple[Term, asyncio.Timeout]] = {}
        self.runs = 0

    def __len__(self) -> int:
        """How many duties are this server's now."""
        return len(self._terms)

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {"duties": len(self), "duty_runs": self.runs}

    def add(self, duty: Duty) -> None:
        """Have a duty done. To be called before `running`."""
        self._duties[duty.name] = duty

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do what has to be done for the length of the block."""
        async with background(
            self._look_for_ever(), *(self._perform_for_ever(duty) for duty in self._duties.values())
        ):
            yield

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await self._clock.sleep(_LOOK_S)

    async def _look(self) -> None:
        """Find out which duties are ours, and stop what no longer is."""
        server_id = self._membership.id
        epochs: Mapping[str, int] = {}
        if self._clock.monotonic() < self._owned.until:
            try:
                epochs = await self._rows.hold(server_id, sorted(self._duties))
            except DurableTierUnavailable:
                # Nobody else can take them either, until our beat is too old.
                epochs = {term.duty: term.epoch for term in self._terms.values()}
        if self._clock.monotonic() >= self._owned.until or server_id != self._membership.id:
            epochs = {}
        self._become({name: Term(name, server_id, epoch) for name, epoch in epochs.items()})

    def _become(self, terms: dict[str, Term]) -> None:
        before, self._terms = self._terms, terms
        for name in self._duties:
            old, new = before.get(name), terms.get(name)
            if old == new:
                continue
            if new is None:
                log.info("duty.lost", duty=name)
            else:
                log.info("duty.taken", duty=name, server=new.server_id, epoch=new.epoch)
            if name in self._under_way and self._under_way[name][0] != new:
                cut_short(self._under_way[name][1])

    async def _perform_for_ever(self, duty: Duty) -> None:
        while True:
            term = self._terms.get(duty.name)
            if term is None:
                await self._clock.sleep(_LOOK_S)
                continue
            await self._perform(duty, term)
            await self._clock.sleep(duty.interval.total_seconds())

    async def _perform(self, duty: Duty, term: Term) -> None:
        self.runs += 1
        turn = asyncio.timeout(None)
        try:
            async with turn:
                self._under_way[duty.name] = (term, turn)
                await duty.run(term)
        except StateError as error:
            log.warning("duty.failed", duty=duty.name, error=str(error))
        except Exception:
            # A defect of one duty must not end the server, which has other things to do.
            if not turn.expired():
                log.exception("duty.broke", duty=duty.name)
        finally:
            self._under_way.pop(duty.name, None)
