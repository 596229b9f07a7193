"""What a server holds in memory of one aggregate that it owns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog
from msgspec.structs import replace

from src.state.errors import (
    DurableTierUnavailable,
    EventRefused,
    Refused,
    StateError,
    VersionConflict,
)
from src.state.models import (
    ZERO,
    Ack,
    Claim,
    Context,
    Durability,
    Entry,
    Event,
    Version,
    command_key,
    event_id,
)
from src.state.protocols import Kind

S = TypeVar("S")
C = TypeVar("C")

log = structlog.get_logger(__name__)

_KEYS_REMEMBERED = 64
_MAX_EVENTS = 200
"""What one aggregate adds to a batch."""


class Pending(Generic[S, C]):
    """A command that waits for its answer."""

    __slots__ = (
        "actor",
        "answer",
        "command",
        "if_version",
        "key",
        "known",
        "refusal",
        "repeated",
        "size",
        "version",
    )

    def __init__(
        self,
        command: C | None,
        key: str,
        actor: str,
        if_version: Version | None,
        answer: asyncio.Future[Ack[S]],
        size: int = 0,
    ) -> None:
        self.command, self.key, self.actor, self.if_version = command, key, actor, if_version
        self.answer = answer
        self.size = size
        """Bytes that it holds until it is settled."""
        self.known: Version | None = None
        """The first answer to this key, once the log was asked and had one."""
        self.version: Version = ZERO
        self.repeated = False
        self.refusal: StateError | None = None


class Decided(Generic[S, C]):
    """The outcome of deciding a lane's queue: tentative until the log has taken it."""

    __slots__ = ("claim", "events", "lane", "pendings", "size", "state", "version")

    def __init__(
        self,
        lane: Lane[S, C],
        pendings: list[Pending[S, C]],
        state: S | None,
        version: Version,
        events: list[Event],
    ) -> None:
        self.lane, self.pendings = lane, pendings
        self.state, self.version, self.events = state, version, events
        self.size = sum(len(event.body) for event in events)
        self.claim = Claim(lane.id, lane.epoch, lane.version.seq, tuple(events))


class Lane(Generic[S, C]):
    """One owned aggregate: its logged state, what is buffered on top, and who waits.

    Commands go through one after another. `state` and `version` are what the log has; `tip` is
    that with the buffered events folded on.
    """

    __slots__ = (
        "at",
        "buffered",
        "closed",
        "entry",
        "epoch",
        "id",
        "in_flight",
        "keys",
        "kind",
        "queue",
        "retiring",
        "shown",
        "size",
        "state",
        "taken",
        "tip",
        "used",
        "version",
    )

    def __init__(
        self, kind: Kind[S, C], id: str, epoch: int, entry: Entry[S] | None, used: float
    ) -> None:
        self.kind, self.id, self.epoch = kind, id, epoch
        self.entry = entry
        self.state = self.tip = None if entry is None else entry.state
        self.version = ZERO if entry is None else entry.version
        self.at: datetime | None = None
        self.buffered: list[tuple[Any, Event]] = []
        self.queue: deque[Pending[S, C]] = deque()
        self.taken: list[Pending[S, C]] = []
        self.in_flight = False
        self.closed = False
        self.retiring = False
        """Takes nothing new: what waits is logged, then the row goes to somebody else."""
        self.shown: Version = ZERO
        """What a reader found in the log while this server might not act: perhaps our own append,
        whose answer is late. Whoever was shown it does not go back."""
        self.keys: OrderedDict[str, Version] = OrderedDict()
        self.size = 0 if entry is None else len(entry.body(kind.encode_state))
        self.used = used

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is under way, nothing is buffered."""
        return not (self.queue or self.in_flight or self.buffered)

    @property
    def quiet(self) -> bool:
        """Nothing is undecided, so a cheap command can be folded onto the tip right away."""
        return self.entry is not None and not self.queue and not self.in_flight

    @property
    def unanswered(self) -> list[Pending[S, C]]:
        """Commands that are under way or wait, in the order in which the log will have them."""
        return [*(self.taken if self.in_flight else ()), *self.queue]

    def time(self, now: datetime) -> datetime:
        """Return the time for the next event: never before the previous one's."""
        return now if self.at is None or now > self.at else self.at

    def remember(self, key: str, version: Version) -> None:
        """Keep the answer to a key for a while: most repeats come soon."""
        self.keys[key] = version
        if len(self.keys) > _KEYS_REMEMBERED:
            self.keys.popitem(last=False)

    def decide(self, now: datetime, max_commands: int = _MAX_EVENTS) -> Decided[S, C]:
        """Take the queue, or its front, and decide it command by command on the logged state.

        Refusals and repeats are noted in their `Pending`; nothing may leave the server before what
        it rests on is logged.
        """
        state, version = self.state, self.version
        events: list[Event] = []
        taken: list[Pending[S, C]] = []
        answered: dict[str, Version] = {}
        at = self.time(now)
        for typed, waiting in self.buffered:
            version = Version(self.epoch, version.seq + 1)
            event = replace(waiting, version=version)
            state = self.kind.fold(state, typed, event.meta)
            events.append(event)
            answered[command_key(event.event_id)] = version
        while self.queue and len(events) < _MAX_EVENTS and len(taken) < max_commands:
            pending = self.queue.popleft()
            taken.append(pending)
            if pending.command is None:
                pending.version = version
                continue
            known = pending.known or answered.get(pending.key) or self.keys.get(pending.key)
            if known is not None:
                pending.version, pending.repeated = known, True
                continue
            try:
                state, made = self._take(pending, state, version, at)
            except (Refused, DurableTierUnavailable) as refusal:
                pending.refusal = refusal
                continue
            except Exception as error:
                # A defect in the rules costs this command and nobody else's.
                log.exception("decide.failed", kind=self.kind.name, id=self.id)
                pending.refusal = EventRefused(self.id, repr(error))
                continue
            events += made
            version = made[-1].version if made else version
            pending.version = answered[pending.key] = version
        self.taken, self.in_flight = taken, True
        return Decided(self, taken, state, version, events)

    def _take(
        self, pending: Pending[S, C], state: S | None, version: Version, at: datetime
    ) -> tuple[S | None, list[Event]]:
        """Decide one command; return the state after it and its events."""
        if pending.if_version is not None and pending.if_version != version:
            raise VersionConflict(self.id, pending.if_version.token, version.token)
        context = Context(pending.key, pending.actor, at)
        made: list[Event] = []
        # Only called with a command.
        for index, typed in enumerate(self.kind.decide(state, pending.command, context)):  # type: ignore[arg-type]
            event = self._event(Version(self.epoch, version.seq + index + 1), context, index, typed)
            state = self.kind.fold(state, typed, event.meta)
            made.append(event)
        return state, made

    def _event(self, version: Version, context: Context, index: int, typed: Any) -> Event:
        type_, schema = self.kind.describe_event(typed)
        body = self.kind.encode_event(typed)
        name = event_id(context.key, index)
        return Event(self.id, version, name, type_, schema, body, context.actor, context.at)

    def settle(self, decided: Decided[S, C]) -> Entry[S] | None:
        """Take over what the log has taken; return the new entry."""
        self.in_flight = False
        if decided.events:
            self.state = self.tip = decided.state
            self.version = decided.version
            self.at = decided.events[-1].at
            for event in decided.events[: len(self.buffered)]:
                self.remember(command_key(event.event_id), event.version)
            self.buffered.clear()
            self.size = self._size() + decided.size
            if decided.state is not None:
                self.entry = Entry(self.id, self.version, decided.state)
        elif self.entry is not None and self.entry.ahead and not self.buffered:
            # All that was buffered turned out to be in the log already.
            self.tip = self.state
            self.entry = None if self.state is None else Entry(self.id, self.version, self.state)
        for pending in decided.pendings:
            if pending.refusal is None and pending.command is not None:
                self.remember(pending.key, pending.version)
        return self.entry

    def _size(self) -> int:
        """About how large the state is: exact after each flush, a little more in between."""
        exact = None if self.entry is None else self.entry.size
        return self.size if exact is None else exact

    def reopen(self, decided: Decided[S, C], answered: Sequence[Pending[S, C]] = ()) -> None:
        """Put commands back, in order, to be decided again on a newer state."""
        self.in_flight = False
        done = set(map(id, answered))
        for pending in reversed(decided.pendings):
            if id(pending) not in done:
                pending.refusal, pending.repeated = None, False
                self.queue.appendleft(pending)

    def buffer(self, command: C, key: str, actor: str, now: datetime) -> Entry[S]:
        """Fold a cheap command onto the tip without a number; return the entry, new if it changed.

        Raises:
            Refused: the tip does not allow it.
            DurableTierUnavailable: what it is decided with is not at hand.
        """
        context, before = Context(key, actor, self.time(now)), len(self.buffered)
        for index, typed in enumerate(self.kind.decide(self.tip, command, context)):
            # No number of its own: a takeover or a crash must not leave a hole.
            event = self._event(self.version, context, index, typed)
            self.buffered.append((typed, event))
            self.tip = self.kind.fold(self.tip, typed, event.meta)
            self.size += len(event.body)
        if self.tip is None or self.entry is None:
            raise Refused("not_found", f"{self.id} has no state yet")
        self.remember(key, self.version)
        if len(self.buffered) > before:
            self.at = context.at
            ahead = Version(self.epoch, self.version.seq + len(self.buffered))
            self.entry = Entry(self.id, self.version, self.tip, ahead)
        return self.entry

    def drop_logged(self, places: Mapping[tuple[str, str], Version]) -> bool:
        """Drop what is buffered and turned out to be in the log; return whether anything was."""
        before = self.buffered
        self.buffered = [pair for pair in before if (self.id, pair[1].event_id) not in places]
        for _, event in before:
            place = places.get((self.id, event.event_id))
            if place is not None:
                self.remember(command_key(event.event_id), place)
        return len(self.buffered) < len(before)

    def ack(self, pending: Pending[S, C], entry: Entry[S]) -> Ack[S]:
        """Return the answer to a logged command."""
        return Ack(pending.version, Durability.LOGGED, entry, pending.repeated)
