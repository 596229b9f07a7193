"""Moving conversations between living servers: one is told to stop, or a room's host asks.

Either way the owner takes nothing new for a conversation, logs what waits, flushes it and gives
the row away. Who sends a command meanwhile is told that the owner is changing and tries again, for
a bounded time; nothing waits for a silence, and nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import structlog

from src.state.aggregates import Aggregates
from src.state.errors import DurableTierUnavailable, NotOwner, OwnershipUnknown, Refused, StateError
from src.state.ownership.membership import Membership
from src.state.ownership.rendezvous import first
from src.swarm.dialogue.host import Host
from src.swarm.forwarding import Forwarder
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

_BATCH = 64
"""Conversations that change hands together: each one's writers wait for the whole batch."""
_AGAIN_S = 0.05


class Handover:
    """What this server gives to others, and what it gets from them."""

    def __init__(
        self,
        conversations: Aggregates[ConversationState, Command],
        forwarder: Forwarder,
        membership: Membership,
        host: Host,
        patience_s: float,
    ) -> None:
        self._conversations = conversations
        self._holdings = conversations.holdings
        self._forwarder = forwarder
        self._membership = membership
        self._host = host
        self._patience_s = patience_s
        self.given = 0
        """Conversations given to another server by name."""

    # -- giving ----------------------------------------------------------------------------------

    def heir(self, conversation_id: str) -> str | None:
        """Return who takes a conversation in this server's stead; None while it stays itself."""
        if not self._membership.leaving or self._holdings.find(conversation_id) is not None:
            return None
        return first(conversation_id, self._membership.others())

    async def leave(self) -> None:
        """Give everything to the others while this server still answers and forwards.

        Those with work in progress (running rooms) go to a server by name, which goes on with it,
        or are taken over when this one is gone; the rest is free for whoever is asked next. Alone,
        this server stays the owner.
        """
        self._membership.leaving = True
        if not self._membership.others():
            return
        log.info("handover.began", conversations=len(self._holdings))
        try:
            # While everybody still writes: what is dirty again in the end is little.
            await self._conversations.writebehind.flush_all()
            while (ids := self._holdings.ids()) and self._membership.others():
                await self._pass_on(ids[:_BATCH])
                if len(self._holdings) == len(ids):
                    # Its beat is late, or a write was faster: nothing could go.
                    await asyncio.sleep(_AGAIN_S)
        except DurableTierUnavailable as error:
            log.warning("handover.incomplete", left=len(self._holdings), error=str(error))
            return
        log.info("handover.done", given=self.given)

    async def _pass_on(self, ids: Sequence[str]) -> None:
        by_heir: dict[str | None, list[str]] = defaultdict(list)
        for id in ids:
            by_heir[self._next_host(id)].append(id)
        for heir, theirs in by_heir.items():
            moved = await self._holdings.give_up(theirs, heir)
            url = None if heir is None else self._membership.url_of(heir)
            if moved and url is not None:
                self.given += len(moved)
                try:
                    await self._forwarder.tell_owner(url, sorted(moved))
                except StateError as error:
                    # The rows say it already: it is found out at the next use, or when this server
                    # is gone.
                    log.warning("handover.unheard", server=heir, error=str(error))

    def _next_host(self, id: str) -> str | None:
        lane = self._holdings.find(id)
        entry = None if lane is None else lane.entry
        if entry is None or not self._conversations.kind.is_live(entry):
            return None
        return first(id, self._membership.others())

    async def give(self, conversation_id: str, to: str) -> None:
        """Give one conversation to a server that hosts its room from now on.

        Raises:
            NotOwner: another server owns it; it is named.
            Refused: bots are answering in it here.
            OwnershipUnknown: it changed hands meanwhile, or `to` is no living server.
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        if self._host.hosts(conversation_id):
            detail = f"{conversation_id}: bots are answering here; ask again when they have"
            raise Refused("room_at_work", detail)
        if not self._holdings.owns(conversation_id):
            # The row may still say so; then whoever asks may simply take it.
            await self._holdings.acquire(conversation_id, create=False)
        moved: frozenset[str] = frozenset()
        try:
            moved = await self._holdings.give_up([conversation_id], to)
        finally:
            if not moved:
                self._look_after_own()
        if not moved:
            why = f"it changed hands in the same moment, or {to} is no living server"
            raise OwnershipUnknown(conversation_id, why)
        self.given += 1

    def _look_after_own(self) -> None:
        """Hold what the rows say that this server owns, although it was not told so."""
        self._conversations.takeover.look_after(self._membership.id)

    # -- getting ---------------------------------------------------------------------------------

    async def take(self, ids: Sequence[str]) -> int:
        """Load what another server has given to this one; return how many are held now."""
        answers = await asyncio.gather(
            *(self._holdings.acquire(id, create=False) for id in ids), return_exceptions=True
        )
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StateError):
                raise failure
        if failures:
            self._look_after_own()
        return len(answers) - len(failures)

    async def fetch(self, conversation_id: str) -> None:
        """Become the owner of a conversation whose room is hosted here from now on.

        A living owner is asked for it, and asked again for a bounded time.

        Raises:
            NotFound: there is no such conversation.
            Refused: its owner keeps it: bots are answering there.
            OwnershipUnknown: its owner could not be asked, or it changed hands all the time.
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while True:
            try:
                await self._holdings.acquire(conversation_id, create=False)
                return
            except NotOwner as error:
                owner = error.server_id
            failure: StateError = OwnershipUnknown(conversation_id, f"{owner} does not answer")
            url = self._membership.url_of(owner)
            if url is not None:
                try:
                    await self._forwarder.ask_for(url, conversation_id, self._membership.id)
                    continue
                except StateError as error:
                    failure = error
            if loop.time() + _AGAIN_S >= deadline:
                # What was given at last without an answer is ours.
                self._look_after_own()
                raise failure
            await asyncio.sleep(_AGAIN_S)
