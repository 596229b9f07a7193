"""Taking what dead servers left and what cannot wait for use: dirty and live aggregates.

Every survivor sees the same orphans. Each takes at once those for which it comes first by
rendezvous rank, and two seconds later, rank by rank, whatever is still there: a survivor that is
itself slow or dead delays its share and loses nothing. The rest waits until somebody needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Generic, TypeVar

import structlog

from src.state.errors import (
    DurableTierUnavailable,
    NotFound,
    NotOwner,
    OwnershipLost,
    OwnershipUnknown,
)
from src.state.ownership.holdings import Holdings
from src.state.ownership.membership import Membership
from src.state.ownership.rendezvous import rank
from src.state.protocols import Clock, Kind, Ownership

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger(__name__)

STEP_S = 2.0
"""How long the next rank waits for the one before it."""
_AGAIN_S = 1.0
_PAGE = 500
_AT_ONCE = 16
"""Aggregates loaded side by side: more than the pool's connections would only queue for them."""


class Takeover(Generic[S, C]):
    """The orphans of one kind."""

    def __init__(
        self,
        kind: Kind[S, C],
        ownership: Ownership,
        membership: Membership,
        holdings: Holdings[S, C],
        clock: Clock,
    ) -> None:
        self._kind = kind
        self._ownership = ownership
        self._membership = membership
        self._holdings = holdings
        self._clock = clock
        self._dead: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._half_taken: dict[str, None] = {}
        self.taken = 0
        """Aggregates taken from dead servers."""
        membership.on_death.append(self._died)

    def _died(self, server_id: str) -> None:
        self.look_after(server_id)
        # It may have given something to this server and been unable to say so.
        self.look_after(self._membership.id)

    def look_after(self, server_id: str) -> None:
        """See to what the log says this server owns and nobody holds."""
        self._dead[server_id] = self._clock.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Take what dead servers left, until cancelled."""
        while True:
            self._wake.clear()
            for dead, since in list(self._dead.items()):
                try:
                    done = await self._take_from(dead, since)
                except DurableTierUnavailable as error:
                    log.warning("takeover.unanswered", server=dead, error=str(error))
                    continue
                if done and self._dead.get(dead) == since:
                    del self._dead[dead]
            try:
                async with asyncio.timeout(_AGAIN_S if self._dead else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _take_from(self, dead: str, since: float) -> bool:
        """Take what it is this server's turn to take; True when it was everybody's turn."""
        await self._take_all(list(self._half_taken))
        me = self._membership.id
        # Of what the log says that this very server owns no other server knows that it is loose.
        living = (me,) if dead == me else (*self._membership.others(), me)
        turn = int((self._clock.monotonic() - since) / STEP_S)
        after = ""
        while True:
            orphans = await self._ownership.orphans(dead, after, _PAGE)
            ranks = [(id, rank(id, me, living)) for id in orphans]
            ours = [id for id, place in ranks if place <= turn]
            await self._take_all(ours)
            if len(orphans) < _PAGE:
                # A look after the last turn finds what a dead server's last statement has added.
                return turn >= len(living)
            after = orphans[-1]

    async def _take_all(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            answers = await asyncio.gather(
                *(self._take(id) for id in ids[start : start + _AT_ONCE]), return_exceptions=True
            )
            self.taken += sum(answer is True for answer in answers)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

    async def _take(self, id: str) -> bool:
        self._half_taken.pop(id, None)
        if self._holdings.find(id) is not None:
            return False
        try:
            await self._holdings.acquire(id, create=False)
        except DurableTierUnavailable:
            # Its row may name this server already: then nobody finds an orphan in it any more.
            self._half_taken[id] = None
            raise
        except (NotOwner, NotFound, OwnershipLost, OwnershipUnknown):
            # Another survivor was faster, or this server is going away itself.
            return False
        except Exception:
            # One history that this release cannot read must not keep the others orphans.
            log.exception("takeover.failed", kind=self._kind.name, id=id)
            return False
        return True
