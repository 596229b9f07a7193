"""Following a conversation: its events in order, without gaps, on any server.

What is heard over the bus only wakes a follower; the events themselves come from the owner's own
memory when it is this server, else from the log. What is pending in a room of this server comes
as it is said, each event once, and again as an event of the log when it has become one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from src.state.buffers import Buffer
from src.state.errors import DurableTierUnavailable
from src.state.models import Entry, Event, Version
from src.state.protocols import PAGE, EventLog
from src.state.reads.single_flight import SingleFlight
from src.swarm.pending import PendingCommand, PendingEvent, PendingRooms
from src.swarm.shapes.models import ConversationState

_RING_EVENTS = 256
_RING_BYTES = 1 << 20
_IDLE_CHECK_S = 5.0
"""A follower looks for itself this often, should every way of hearing have failed it; not where
its conversation is owned, since nobody else can log what it waits for."""
_RETRY_S = 0.5


class _Channel:
    """The newest events of one conversation that has followers here."""

    __slots__ = ("_over", "bytes", "followers", "newest", "ring", "waiters")

    def __init__(self) -> None:
        self.followers = 0
        self.ring: deque[Event] = deque()
        self.bytes = 0
        self.newest = 0
        self._over = False
        """Its events were erased, or may be of a branch of the log that did not survive."""
        self.waiters: set[asyncio.Event] = set()

    def keep(self, events: Sequence[Event]) -> None:
        for event in events:
            if self.ring and event.version.seq != self.ring[-1].version.seq + 1:
                if event.version.seq <= self.ring[-1].version.seq:
                    continue
                self.ring.clear()
                self.bytes = 0
            self.ring.append(event)
            self.bytes += len(event.body)
            while len(self.ring) > _RING_EVENTS or self.bytes > _RING_BYTES:
                self.bytes -= len(self.ring.popleft().body)

    def after(self, seq: int) -> list[Event]:
        """Return the events beyond seq if the ring reaches back that far."""
        if not self.ring or self.ring[0].version.seq > seq + 1:
            return []
        return [event for event in self.ring if event.version.seq > seq]

    def end(self) -> None:
        self._over = True
        self.wake()

    def is_over(self) -> bool:
        return self._over

    def wake(self) -> None:
        for waiter in self.waiters:
            waiter.set()


class Feed:
    """Channels by conversation; none is kept without a follower."""

    def __init__(
        self,
        event_log: EventLog,
        pending: PendingRooms,
        *,
        owns: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._log = event_log
        self._owns = owns
        self._pending = pending
        pending.said.append(self._said)
        self._channels: dict[str, _Channel] = {}
        self._tails: SingleFlight[Sequence[Event]] = SingleFlight()

    def __len__(self) -> int:
        return sum(channel.followers for channel in self._channels.values())

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: who needs older events reads them from the log."""
        channels = self._channels.values()
        held = sum(channel.bytes for channel in channels)
        return {"feed_bytes": Buffer(held, len(channels) * _RING_BYTES)}

    def logged(self, entry: Entry[ConversationState], events: Sequence[Event]) -> None:
        """Take what this server, as the owner, has just logged."""
        channel = self._channels.get(entry.id)
        if channel is not None:
            channel.keep(events)
            channel.newest = max(channel.newest, entry.version.seq)
            channel.wake()

    def owned(self, entry: Entry[ConversationState]) -> None:
        """Take note of what this server owns from now on: its predecessor may have told nobody."""
        self.heard(entry.id, entry.version)

    def heard(self, conversation_id: str, version: Version) -> None:
        """Wake followers of a conversation that has moved on."""
        channel = self._channels.get(conversation_id)
        if channel is not None and version.seq > channel.newest:
            channel.newest = version.seq
            channel.wake()

    def _said(self, conversation_id: str, _: PendingCommand) -> None:
        """Wake followers of a room that goes on without the log."""
        channel = self._channels.get(conversation_id)
        if channel is not None:
            channel.wake()

    def doubt(self) -> None:
        """Wake everybody: something was missed."""
        for channel in self._channels.values():
            channel.wake()

    def branched(self) -> None:
        """End every follower: what it has seen may be gone, and other events have its numbers."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.end()

    def erased(self, conversation_id: str) -> None:
        """End the followers of a conversation: what they have not been told yet is not to be."""
        channel = self._channels.pop(conversation_id, None)
        if channel is not None:
            channel.end()

    @asynccontextmanager
    async def follow(
        self, conversation_id: str, *, after: int
    ) -> AsyncIterator[AsyncIterator[Event | PendingEvent]]:
        """Give the events with seq > `after`, those of the past first, then as they are logged.

        They end when they are erased, and when PostgreSQL goes to another branch of its history.
        """
        channel = self._channels.setdefault(conversation_id, _Channel())
        channel.followers += 1
        waiter = asyncio.Event()
        channel.waiters.add(waiter)
        try:
            yield self._events(conversation_id, channel, waiter, after)
        finally:
            channel.waiters.discard(waiter)
            channel.followers -= 1
            if not channel.followers and self._channels.get(conversation_id) is channel:
                del self._channels[conversation_id]

    async def _events(
        self, conversation_id: str, channel: _Channel, waiter: asyncio.Event, after: int
    ) -> AsyncIterator[Event | PendingEvent]:
        told, look = 0, True
        while not channel.is_over():
            waiter.clear()
            for pending in self._pending.after(conversation_id, told):
                yield pending
                told = pending.number
            events: Sequence[Event] = channel.after(after)
            look_again_s, all_there_is = _IDLE_CHECK_S, False
            if look and not events:
                try:
                    # While turns are pending the log is away, and asking it would hold them up.
                    if conversation_id not in self._pending:
                        events = await self._tail(conversation_id, channel, after)
                        all_there_is = len(events) < PAGE
                    else:
                        look_again_s = _RETRY_S
                except DurableTierUnavailable:
                    look_again_s = _RETRY_S
            for event in events:
                if channel.is_over():
                    return
                yield event
                after = event.version.seq
            # Who has the newest that was heard of has nothing to look for, unless woken meanwhile.
            look = waiter.is_set() or not (all_there_is or after == channel.newest)
            if not events:
                with suppress(TimeoutError):
                    async with asyncio.timeout(look_again_s):
                        await waiter.wait()
                unanswered = look_again_s < _IDLE_CHECK_S
                look = unanswered or waiter.is_set() or not self._owns(conversation_id)

    async def _tail(self, conversation_id: str, channel: _Channel, after: int) -> Sequence[Event]:
        # A read begun before something newer was heard of is no answer to who has heard of it.
        flight = f"{conversation_id}:{after}:{channel.newest}"
        events = await self._tails.do(flight, lambda: self._log.tail(conversation_id, after + 1))
        channel.keep(events)
        return events

    async def aclose(self) -> None:
        """Cancel reads that are under way."""
        await self._tails.aclose()
