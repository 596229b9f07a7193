"""Rooms that go on talking while the log is away: what was said, tentatively, in order.

A room decides and folds commands on the last state that its owner knew, like a lane's tip, and
keeps each with its key until the log has answered for it. All of it is memory of one process and
no promise that the log has given: `outage` says when a room is opened and what becomes of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
from msgspec.structs import replace

from src.state.errors import ReadOnly, Refused
from src.state.models import Event
from src.state.protocols import Kind
from src.state.writes.lane import Lane
from src.swarm.errors import RulesUnknown
from src.swarm.shapes.commands import Command, PostMessage
from src.swarm.shapes.events import MessageAdded
from src.swarm.shapes.models import ConversationState, Message

RoomLane = Lane[ConversationState, Command]
RoomKind = Kind[ConversationState, Command]

_OVERHEAD_BYTES = 1_500
"""What a pending command costs beside its text, which is there twice: as such, and in its event.
Measured, for texts of 20 to 3000 characters."""


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """How much may be pending: commands of one room, of all rooms, and bytes of all."""

    per_room: int
    count: int
    bytes: int


class PendingEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that no log has yet; it carries the version of the last logged one.

    `number` orders all pending events of a process.
    """

    number: int
    event: Event


class PendingCommand(msgspec.Struct, frozen=True, gc=False):
    """A command that waits for the log to return, and what it will mean there."""

    command: Command
    key: str
    actor: str
    events: tuple[PendingEvent, ...]
    turns: tuple[Message, ...]
    bytes: int


class PendingRoom:
    """What one conversation has that its log does not have."""

    __slots__ = ("_keys", "_tip", "id", "opened", "waiting")

    def __init__(self, kind: RoomKind, lane: RoomLane, opened: float) -> None:
        entry = lane.entry
        assert entry is not None, "only what exists has a room"
        self.id = lane.id
        # Events that are only buffered are in the state, and stay the lane's own to log.
        self._tip: RoomLane = Lane(kind, lane.id, lane.epoch, entry, opened)
        self._tip.at = lane.at
        self._keys: set[str] = set()
        self.opened = opened
        """When its first command came, on the clock of intervals."""
        self.waiting: deque[PendingCommand] = deque()

    @property
    def state(self) -> ConversationState:
        """The state with everything pending folded on."""
        state = self._tip.tip
        assert state is not None
        return state

    def knows(self, key: str) -> bool:
        """Whether a command with this key is pending."""
        return key in self._keys

    def holds(self, message_id: str) -> bool:
        """Whether this turn is pending."""
        return any(turn.id == message_id for one in self.waiting for turn in one.turns)

    def decide(
        self, command: Command, key: str, actor: str, now: datetime, first_number: int
    ) -> PendingCommand:
        """Decide and fold a command; it waits from now on.

        Raises:
            Refused: the tentative state does not allow it.
            RulesUnknown: what it depends on was never read here.
        """
        tip = self._tip
        tip.buffer(command, key, actor, now)
        made, tip.buffered = tip.buffered, []
        turns = tuple(typed.message for typed, _ in made if isinstance(typed, MessageAdded))
        if isinstance(command, PostMessage):
            # Logged later, it still is a turn of the time when it was said.
            (turn,) = turns
            command = replace(command, started_at=turn.started_at, ended_at=turn.ended_at)
        pending = PendingCommand(
            command,
            key,
            actor,
            tuple(PendingEvent(first_number + n, event) for n, (_, event) in enumerate(made)),
            turns,
            2 * sum(len(event.body) for _, event in made) + _OVERHEAD_BYTES,
        )
        self._keys.add(key)
        self.waiting.append(pending)
        return pending

    def answered(self) -> PendingCommand:
        """Take out the first command: the log has answered for it."""
        done = self.waiting.popleft()
        self._keys.discard(done.key)
        return done


class PendingRooms:
    """The pending rooms of a server, by conversation, within bounds.

    `kind` decides as well as can be told while PostgreSQL is away.
    """

    def __init__(self, kind: RoomKind, bounds: Bounds) -> None:
        self._kind = kind
        self.bounds = bounds
        self._rooms: dict[str, PendingRoom] = {}
        self._number = 0
        self.count = 0
        """Commands that are pending in all rooms ..."""
        self.bytes = 0
        """... and about how much memory they take."""
        self.turned_away = 0
        """Commands that the bounds had no room for."""
        self.said: list[Callable[[str, PendingCommand], None]] = []
        """Called with the conversation and what has just become pending there."""

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._rooms

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._rooms))

    def find(self, conversation_id: str) -> PendingRoom | None:
        """Return the room of a conversation that has pending turns."""
        return self._rooms.get(conversation_id)

    def pending(self, conversation_id: str) -> int:
        """Return how many commands of a conversation are pending."""
        room = self._rooms.get(conversation_id)
        return 0 if room is None else len(room.waiting)

    def after(self, conversation_id: str, number: int) -> list[PendingEvent]:
        """Return the pending events of a conversation beyond `number`, in order."""
        room = self._rooms.get(conversation_id)
        if room is None or not room.waiting or self._number <= number:
            return []
        newer: deque[PendingEvent] = deque()
        for one in reversed(room.waiting):
            if one.events and one.events[-1].number <= number:
                break
            newer.extendleft(reversed(one.events))
        return list(newer)

    def take(
        self, lane: RoomLane, command: Command, key: str, actor: str, now: datetime, opened: float
    ) -> bool:
        """Let a command wait in the room of a lane; False when its key waits there already.

        `opened` is the time by the clock of intervals, for a room that begins with this command.

        Raises:
            Refused: the tentative state does not allow it.
            RulesUnknown: what it depends on was never read here.
            ReadOnly: the bounds are reached.
        """
        room = self._rooms.get(lane.id)
        if room is None:
            room = self._rooms[lane.id] = PendingRoom(self._kind, lane, opened)
            self._take_what_was_begun(room, lane, now)
        try:
            if room.knows(key):
                return False
            self._check_bounds(lane.id, room)
            self._add(room, command, key, actor, now)
        finally:
            if not room.waiting:
                del self._rooms[lane.id]
        return True

    def _take_what_was_begun(self, room: PendingRoom, lane: RoomLane, now: datetime) -> None:
        """Begin with what the log has not answered for. Logged under its key it is there once."""
        for one in lane.unanswered:
            if one.command is not None and not room.knows(one.key):
                try:
                    self._add(room, one.command, one.key, one.actor, now)
                except (Refused, RulesUnknown):
                    # Its caller hears so from the log.
                    continue

    def _check_bounds(self, conversation_id: str, room: PendingRoom) -> None:
        bounds = self.bounds
        if (
            len(room.waiting) >= bounds.per_room
            or self.count >= bounds.count
            or self.bytes >= bounds.bytes
        ):
            self.turned_away += 1
            raise ReadOnly(
                conversation_id,
                f"{len(room.waiting)} of its turns and {self.count} in all ({self.bytes} bytes)"
                " wait already; SWARMSTATE_PENDING_TURNS_PER_ROOM, _TURNS and _BYTES bound them",
            )

    def _add(
        self, room: PendingRoom, command: Command, key: str, actor: str, now: datetime
    ) -> None:
        pending = room.decide(command, key, actor, now, self._number + 1)
        self._number += len(pending.events)
        self.count += 1
        self.bytes += pending.bytes
        for callback in self.said:
            callback(room.id, pending)

    def answered(self, conversation_id: str) -> None:
        """Take out a room's first command; a room without any is gone."""
        room = self._rooms[conversation_id]
        done = room.answered()
        self.count -= 1
        self.bytes -= done.bytes
        if not room.waiting:
            del self._rooms[conversation_id]
