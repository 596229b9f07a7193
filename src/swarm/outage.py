"""What a server does for the rooms that it hosts while PostgreSQL is away, and on its return.

A running conversation that this server owned when PostgreSQL went away goes on here: turns are
taken as `pending`, which is a promise of less than `logged`. On return they are submitted in order,
each under its own key, to whoever owns the conversation by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from src.state.aggregates import Aggregates
from src.state.background import background
from src.state.buffers import Buffer
from src.state.errors import EventRefused, ReadOnly, Refused, StateError
from src.state.models import Durability, Entry, Read, event_id
from src.state.protocols import Clock
from src.swarm.forwarding import Receipt
from src.swarm.pending import Bounds, PendingCommand, PendingRoom, PendingRooms, RoomKind, RoomLane
from src.swarm.shapes.commands import Command, PostMessage
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

Submit = Callable[[str, Command, str, str], Awaitable[object]]
"""(conversation id, command, key, actor) -> receipt"""

_LOOK_S = 0.1
_ROOMS_AT_ONCE = 16
_LAST_S = 5.0
"""How long a server that stops tries to log what is still pending."""


class Outage:
    """Takes what rooms say while the log is away, and logs it when the log is back.

    `kind` is that of the conversations, but decides under the rules that were last seen.
    """

    def __init__(
        self,
        conversations: Aggregates[ConversationState, Command],
        kind: RoomKind,
        bounds: Bounds,
        clock: Clock,
    ) -> None:
        self._conversations = conversations
        self._clock = clock
        self.rooms = PendingRooms(kind, bounds)
        self.rooms.said.append(self._wake_up)
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self.logged = 0
        """Pending commands that the log has taken ..."""
        self.refused = 0
        """... and those that were refused on its return."""

    # -- what a room sees ------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether PostgreSQL is away."""
        return self._conversations.log_is_away

    def hosts(self, conversation_id: str) -> bool:
        """Whether PostgreSQL is away and the conversation goes on here."""
        return self.is_on and self._lane(conversation_id) is not None

    def _lane(self, conversation_id: str) -> RoomLane | None:
        """Return the lane of a running conversation that is held, beat or no beat.

        Nobody can take it while PostgreSQL is away from everybody. When it is away from this server
        alone, somebody may: then two hosts talk, and the keys decide what the log has.
        """
        lane = self._conversations.holdings.find(conversation_id)
        if lane is None or lane.closed or lane.retiring or lane.entry is None:
            return None
        return lane if lane.entry.state.status == "running" else None

    def owns(self, conversation_id: str) -> bool:
        """Whether bots answer here: as the owner's, or as the host's in an outage."""
        return self._conversations.holdings.owns(conversation_id) or self.hosts(conversation_id)

    async def read(self, conversation_id: str) -> ConversationState | None:
        """Return the state that bots answer on, with what is pending; None: there is none.

        Raises:
            DurableTierUnavailable: it is not hosted here, and no tier has it.
        """
        room = self.rooms.find(conversation_id)
        if room is not None:
            return room.state
        if self.is_on and (lane := self._lane(conversation_id)) is not None:
            return lane.entry.state if lane.entry else None
        found = await self._conversations.read(conversation_id)
        return None if found is None else found.entry.state

    def holds(self, conversation_id: str, message_id: str) -> bool:
        """Whether a turn is pending: when it is logged, it was heard already."""
        room = self.rooms.find(conversation_id)
        return room is not None and room.holds(message_id)

    def label(self, read: Read[ConversationState]) -> Read[ConversationState]:
        """Call a state stale that lacks what was acknowledged as pending."""
        room = self.rooms.find(read.entry.id)
        if room is None or read.stale_s is not None:
            return read
        return Read(read.entry, read.where, self._clock.monotonic() - room.opened)

    # -- taking ----------------------------------------------------------------------------------

    def take(
        self, conversation_id: str, command: Command, key: str, actor: str, *, of_room: bool
    ) -> Receipt:
        """Let a command of a hosted conversation wait for PostgreSQL.

        Raises:
            Refused: a room's own command does not fit the tentative state.
            RulesUnknown: it would be decided under rules that were never read here.
            ReadOnly: the bounds are reached; or it would be refused, and PostgreSQL
                cannot be asked whether this key was taken before.
        """
        lane = self._lane(conversation_id)
        if lane is None or lane.entry is None:
            raise ReadOnly(conversation_id, "its room is not here")
        now = self._clock.monotonic()
        lane.used = now
        if _is_shown(lane.entry, command, key):
            safe = Durability.BUFFERED if lane.entry.ahead else Durability.LOGGED
            return Receipt(lane.entry.version, safe, True)
        try:
            new = self.rooms.take(lane, command, key, actor, self._clock.now(), now)
        except Refused as refusal:
            if of_room:
                raise
            raise ReadOnly(conversation_id, "a refusal needs a look at the log") from refusal
        return Receipt(lane.entry.version, Durability.PENDING, not new)

    async def wait_for_turn(self, conversation_id: str, key: str, patience_s: float) -> None:
        """Wait until what is pending in a conversation was logged: nothing overtakes it.

        Returns at once for the first of what is pending, and when PostgreSQL is away.

        Raises:
            ReadOnly: that took longer than `patience_s`.
        """
        try:
            async with asyncio.timeout(patience_s):
                while self._is_behind(conversation_id, key):
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError as error:
            raise ReadOnly(conversation_id, "what is pending is still being logged") from error

    def _is_behind(self, conversation_id: str, key: str) -> bool:
        room = self.rooms.find(conversation_id)
        return room is not None and room.waiting[0].key != key and not self.is_on

    # -- returning -------------------------------------------------------------------------------

    def _wake_up(self, conversation_id: str, pending: PendingCommand) -> None:
        self._wake.set()

    @asynccontextmanager
    async def running(self, submit: Submit) -> AsyncIterator[None]:
        """Log what is pending whenever PostgreSQL is back, for the length of the block.

        `submit` has a command logged by its owner; its receipt says `logged`.
        """
        try:
            async with background(self._log_for_ever(submit)):
                yield
            if not self.is_on:
                async with asyncio.timeout(_LAST_S):
                    await self._log_all(submit)
        except TimeoutError:
            log.warning("pending.unfinished", turns=self.rooms.count)
        finally:
            for id in self.rooms:
                room = self.rooms.find(id)
                for pending in room.waiting if room else ():
                    log.error("pending.lost", conversation_id=id, key=pending.key)

    async def _log_for_ever(self, submit: Submit) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.rooms:
                await self._clock.sleep(_LOOK_S)
                if not self.is_on:
                    await self._log_all(submit)
                self._drained.set()

    async def _log_all(self, submit: Submit) -> None:
        at_once = asyncio.Semaphore(_ROOMS_AT_ONCE)

        async def log_one(id: str) -> None:
            async with at_once:
                await self._log_room(id, submit)

        async with asyncio.TaskGroup() as tasks:
            for id in self.rooms:
                tasks.create_task(log_one(id))

    async def _log_room(self, id: str, submit: Submit) -> None:
        """Submit what a room has said, one after another, as far as the log answers."""
        while (room := self.rooms.find(id)) is not None:
            pending = room.waiting[0]
            try:
                await submit(id, pending.command, pending.key, pending.actor)
            except (Refused, EventRefused) as error:
                self._refuse(room, pending, error)
            except StateError as error:
                # No answer yet, or too busy: the same again at the next look.
                log.info("pending.waits", conversation_id=id, error=str(error))
                return
            except Exception as error:
                # A defect costs this command, loudly, and not those behind it.
                log.exception("pending.failed", conversation_id=id, key=pending.key)
                self._refuse(room, pending, error)
            else:
                self.logged += 1
            self.rooms.answered(id)
            self._drained.set()

    def _refuse(self, room: PendingRoom, pending: PendingCommand, error: Exception) -> None:
        self.refused += 1
        log.warning(
            "pending.refused", conversation_id=room.id, key=pending.key, error=type(error).__name__
        )

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        rooms = self.rooms
        return {
            "pending_turns": Buffer(rooms.count, rooms.bounds.count, rooms.turned_away),
            "pending_bytes": Buffer(rooms.bytes, rooms.bounds.bytes, rooms.turned_away),
        }

    def counts(self) -> dict[str, float]:
        """Return what the metrics show of pending turns."""
        return {
            "pending_rooms": len(self.rooms),
            "pending_turns": self.rooms.count,
            "pending_bytes": self.rooms.bytes,
            "pending_logged": self.logged,
            "pending_refused": self.refused,
            "pending_turned_away": self.rooms.turned_away,
        }


def _is_shown(entry: Entry[ConversationState], command: Command, key: str) -> bool:
    """Whether the state before the outage has a turn with this key, as far as its window goes."""
    if not isinstance(command, PostMessage) or command.id is not None:
        return False
    return any(message.id == event_id(key, 0) for message in entry.state.messages)
