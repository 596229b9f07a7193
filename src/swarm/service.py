"""The use-cases of a server: what its edges, the HTTP API and the voice rooms, may call.

A write goes to the owner wherever it is; a read is answered here. Neither edge knows more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Literal

from cachetools import LRUCache

from src.state.aggregates import Aggregates
from src.state.buffers import Buffer
from src.state.errors import (
    DurableTierUnavailable,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    OwnershipLost,
    OwnershipUnknown,
    StateError,
)
from src.state.lists import ConversationLists
from src.state.models import Durability, Entry, Event, Read, Version
from src.state.ownership.membership import Membership
from src.state.protocols import EventLog
from src.state.reads.source import is_dense
from src.swarm import pages
from src.swarm.configs.service import ConfigService
from src.swarm.errors import RulesUnknown
from src.swarm.feed import Feed
from src.swarm.forwarding import Forwarder, Receipt, encode_forwarded
from src.swarm.handover import Handover
from src.swarm.history import History
from src.swarm.in_force import InForce
from src.swarm.outage import Outage
from src.swarm.pending import PendingEvent
from src.swarm.rules.conversations import CONVERSATIONS
from src.swarm.shapes.commands import Command, PostMessage
from src.swarm.shapes.models import ConversationState

_OWNER_HINTS = 50_000
_RETRY_S = 0.1
_LOOKS = 5
"""How often a command is decided anew because a config was edited under it meanwhile."""
_EVENTS_BYTES = 1 << 20
"""Bodies in a page of events: a thousand long ones would take tens of MiB for each who asks."""


class SwarmService:
    """Conversations and configs on one server."""

    def __init__(
        self,
        conversations: Aggregates[ConversationState, Command],
        event_log: EventLog,
        lists: ConversationLists,
        feed: Feed,
        forwarder: Forwarder,
        membership: Membership,
        handover: Handover,
        configs: ConfigService,
        in_force: InForce,
        outage: Outage,
        history: History,
        patience: timedelta,
        ack: Literal["logged", "buffered"],
    ) -> None:
        self._conversations = conversations
        self._outage = outage
        self._log = event_log
        self._lists = lists
        self._feed = feed
        self._forwarder = forwarder
        self._membership = membership
        self.handover = handover
        self._patience_s = patience.total_seconds()
        self._owners: LRUCache[str, str] = LRUCache(_OWNER_HINTS)
        self._by_default = Durability.BUFFERED if ack == "buffered" else None
        self.configs, self.in_force, self.history = configs, in_force, history
        self.peek = conversations.store.peek
        """`peek(id) -> Entry | None`: a fresh L1 hit, synchronous; the hottest call of a server."""

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: a forgotten owner is looked up again."""
        return {"owner_hints": Buffer(len(self._owners), _OWNER_HINTS)}

    @property
    def server_id(self) -> str:
        """This server's name; another one after it was held for dead."""
        return self._membership.id

    # -- reading ---------------------------------------------------------------------------------

    def body(self, entry: Entry[ConversationState]) -> bytes:
        """Return the JSON of a state, made once per entry."""
        return entry.body(CONVERSATIONS.encode_state)

    async def read(
        self, conversation_id: str, *, at_least: Version | None = None
    ) -> Read[ConversationState]:
        """Return the state with tier and freshness.

        Raises:
            NotFound: never created, or deleted.
            Behind: `at_least` is ahead of what is logged.
            DurableTierUnavailable: no tier can tell.
        """
        read = await self._conversations.read(conversation_id, at_least=at_least)
        if read is None or read.entry.state.status == "deleted":
            raise NotFound("conversation", conversation_id)
        return self._outage.label(read)

    def pending(self, conversation_id: str) -> int:
        """Return how many turns of a conversation wait here for PostgreSQL's return."""
        return self._outage.rooms.pending(conversation_id)

    async def messages(
        self, conversation_id: str, *, before: int | None, limit: int
    ) -> pages.MessagePage:
        """Return a page of messages, newest first, complete up to the newest logged one."""
        read = await self.read(conversation_id)
        top = (1 << 62) if before is None else before
        rows = await self._lists.messages(conversation_id, top, limit)
        messages = tuple(pages.message(seq, body) for seq, body in rows)
        more = str(rows[-1][0]) if len(rows) == limit else None
        return pages.MessagePage(messages, more, read.entry.version)

    async def sessions(
        self, conversation_id: str, *, before: int | None, limit: int
    ) -> pages.SessionPage:
        """Return a page of what sessions in its rooms and calls were, newest first."""
        rows = await self._lists.sessions(conversation_id, before or 1 << 62, limit)
        more = str(rows[-1][0]) if len(rows) == limit else None
        return pages.SessionPage(tuple(pages.session(body) for _, body in rows), more)

    async def events(self, conversation_id: str, *, after: int, limit: int) -> Sequence[Event]:
        """Return logged events with seq > `after`, in order; those that pass 1 MiB are the last.

        Raises:
            NotFound: never created, deleted, or being erased while it is read.
        """
        await self.read(conversation_id)
        events = await self._log.tail(conversation_id, after + 1, limit, _EVENTS_BYTES)
        if not is_dense(events, after):
            raise NotFound("conversation", conversation_id)
        return events

    async def list(
        self, *, member: str | None, cursor: str | None, limit: int
    ) -> pages.SummaryPage:
        """Return conversations, newest first (of one member).

        Raises:
            Refused: a cursor that no list gave out.
        """
        as_of, rows = await self._lists.summaries(
            member=member, after=pages.place(cursor), limit=limit
        )
        return pages.summaries(as_of, rows, limit)

    def follow(
        self, conversation_id: str, *, after: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Event | PendingEvent]]:
        """Give events with seq > `after` as they are logged, on any server, without gaps.

        What is pending in a room of this server comes as it is said, and again once it is logged.
        """
        return self._feed.follow(conversation_id, after=after)

    # -- writing ---------------------------------------------------------------------------------

    async def submit(
        self,
        conversation_id: str,
        command: Command,
        *,
        key: str,
        actor: str,
        if_version: Version | None = None,
        durability: Durability | None = None,
        create: bool = False,
        of_room: bool = False,
    ) -> Receipt:
        """Have the owner take a command; the owner may be this server.

        The same key again gives the first receipt again. What `Aggregates.submit` raises is
        raised here too, but for NotOwner and OwnershipLost: those are followed to the owner, for
        a bounded time. `of_room`: a room host's own command, which may be `pending` of any kind.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        body: bytes | None = None
        unknown: OutcomeUnknown | None = None
        while True:
            owner = self._owners.get(conversation_id) or self.handover.heir(conversation_id)
            url = None if owner is None else self._membership.url_of(owner)
            try:
                if url is None or owner == self._membership.id:
                    return await self.submit_here(
                        conversation_id,
                        command,
                        key=key,
                        actor=actor,
                        if_version=if_version,
                        durability=durability,
                        create=create,
                        of_room=of_room,
                    )
                body = body or encode_forwarded(
                    command,
                    key=key,
                    actor=actor,
                    if_version=if_version,
                    durability=durability,
                    create=create,
                )
                return await self._forwarder.send(url, conversation_id, body)
            except NotOwner as error:
                failure: StateError = OwnershipUnknown(conversation_id, "its owner is changing")
                known = self._membership.url_of(error.server_id) is not None
                self._learn(conversation_id, error.server_id if known else None)
                # The row named an owner that we can reach: go there at once, but only once.
                pause = 0.0 if known and url is None else _RETRY_S
            except DurableTierUnavailable as error:
                if unknown is not None:
                    # An earlier try may be in the log: nobody may be told that nothing changed.
                    raise unknown from error
                raise
            except (OwnershipLost, OwnershipUnknown, OutcomeUnknown) as error:
                failure = error
                unknown = error if isinstance(error, OutcomeUnknown) else unknown
                if not self._outage.is_on:
                    # Else nobody could tell the owner again, and its room may be talking.
                    self._learn(conversation_id, None)
                pause = _RETRY_S
            if loop.time() + pause >= deadline:
                raise unknown or failure
            await asyncio.sleep(pause)

    async def submit_of_room(
        self, conversation_id: str, command: Command, key: str, actor: str
    ) -> Receipt:
        """Have the owner take a room host's own command, which may be `pending` of any kind."""
        return await self.submit(conversation_id, command, key=key, actor=actor, of_room=True)

    async def submit_as_owner(
        self, conversation_id: str, command: Command, key: str, actor: str
    ) -> Receipt:
        """Take a command that only the owner gives; raises NotOwner where it is another server."""
        return await self.submit_here(conversation_id, command, key=key, actor=actor)

    async def submit_pending(
        self, conversation_id: str, command: Command, key: str, actor: str
    ) -> Receipt:
        """Have the owner log what was pending; pending again is no answer to it."""
        logged = Durability.LOGGED
        return await self.submit(conversation_id, command, key=key, actor=actor, durability=logged)

    def _learn(self, conversation_id: str, owner: str | None) -> None:
        if owner is None:
            self._owners.pop(conversation_id, None)
        else:
            self._owners[conversation_id] = owner

    async def submit_here(
        self,
        conversation_id: str,
        command: Command,
        *,
        key: str,
        actor: str,
        if_version: Version | None = None,
        durability: Durability | None = None,
        create: bool = False,
        of_room: bool = False,
    ) -> Receipt:
        """Take a command as the owner; while PostgreSQL is away, a turn as its room's host.

        Raises:
            NotOwner: another server owns the conversation; it is named.
            RulesUnknown: what the command is decided under cannot be read now.
            and what `Aggregates.submit` raises.
        """
        outage = self._outage
        if conversation_id in outage.rooms:
            await outage.wait_for_turn(conversation_id, key, self._patience_s)
        may_wait = (
            (of_room or isinstance(command, PostMessage))
            and if_version is None
            and durability is not Durability.LOGGED
        )
        failure: StateError | None = None
        if not (may_wait and outage.hosts(conversation_id)):
            try:
                return await self._decided(
                    conversation_id,
                    command,
                    key=key,
                    actor=actor,
                    if_version=if_version,
                    durability=durability or self._by_default or command.durability,
                    create=create,
                )
            except (DurableTierUnavailable, OwnershipUnknown, OutcomeUnknown) as error:
                if not (may_wait and outage.hosts(conversation_id)):
                    raise
                failure = error
        try:
            return outage.take(conversation_id, command, key, actor, of_room=of_room)
        except DurableTierUnavailable:
            if isinstance(failure, OutcomeUnknown):
                # It may be in the log: nobody may be told that nothing changed.
                raise failure from None
            raise

    async def _decided(self, conversation_id: str, command: Command, **given: Any) -> Receipt:
        """Have the lane decide; read first what that lacks, as long as edits go on."""
        looks = 0
        while True:
            try:
                ack = await self._conversations.submit(conversation_id, command, **given)
            except RulesUnknown as unknown:
                # Nothing was changed; the key may be sent again.
                if (looks := looks + 1) > _LOOKS:
                    raise
                await self.in_force.look(unknown)
            else:
                return Receipt(ack.version, ack.durability, ack.repeated)
