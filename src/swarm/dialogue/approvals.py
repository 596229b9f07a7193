"""What a conversation's owner does about tool calls by itself: it rejects one that nobody decided
in time, and runs one of a built-in tool when it is due.

When that is stands in the state, and is so whoever owns it. The owner that logged a call counts on
its own clock alone. One that takes the call over compares its time of day with another machine's,
and waits as much longer as they may be apart; nor does it take the time to be before that of the
newest event, so where they are apart more it acts late by no longer than the log was silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog

from src.state.buffers import Buffer
from src.state.errors import Refused, StateError
from src.state.models import Entry, Event
from src.state.protocols import Clock
from src.state.writes.lane import Lane
from src.swarm.in_force import InForce
from src.swarm.providers import ToolCall
from src.swarm.rules.tool_calls import CLOCKS_AGREE_S, awaited
from src.swarm.rules.tools import command_for
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState, PendingToolCall
from src.swarm.shapes.work import DecideToolCall, FinishToolCall

log = structlog.get_logger(__name__)

ACTOR = "swarmstate"
"""Who decides when nobody has."""

_AT_ONCE = 16
_RETRY_S = 1.0

Submit = Callable[[str, Command, str, str], Awaitable[object]]
"""(conversation id, command, key, actor) -> receipt; as the owner, never forwarded"""
_Call = tuple[str, str]
"""(id, status)"""


class Approvals:
    """Tool calls of the conversations owned here that wait until some time."""

    def __init__(
        self,
        find: Callable[[str], Lane[ConversationState, Any] | None],
        submit: Submit,
        in_force: InForce,
        clock: Clock,
    ) -> None:
        self._find = find
        self._submit = submit
        self._in_force = in_force
        self._clock = clock
        self._ends: dict[str, dict[_Call, float]] = {}
        """Conversation -> call -> when its time is over, on this server's clock."""
        self._wake = asyncio.Event()

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here, by the open calls that a conversation may have."""
        waiting = sum(map(len, self._ends.values()))
        return {"timed_tool_calls": Buffer(waiting, len(self._ends) * bounds.TOOL_CALLS)}

    def owned(self, entry: Entry[ConversationState]) -> None:
        """See to the calls of a conversation that this server owns from now on."""
        now = self._clock.now() - timedelta(seconds=CLOCKS_AGREE_S)
        self._see_to(entry, max(now, entry.state.updated_at))

    def logged(self, entry: Entry[ConversationState], _: Sequence[Event]) -> None:
        """See to calls that wait from now on, and forget those that no longer do."""
        self._see_to(entry, entry.state.updated_at)

    def _see_to(self, entry: Entry[ConversationState], now: datetime) -> None:
        """See to the calls that wait in a state; `now` is the time that their `due_at` means."""
        state = entry.state
        known = self._ends.pop(entry.id, {})
        calls = awaited(state) if state.pending_tool_calls else ()
        if not calls:
            return
        ends = {
            (call.id, str(call.status)): known.get((call.id, call.status), self._end(call, now))
            for call in calls
        }
        self._ends[entry.id] = ends
        if not known.keys() >= ends.keys():
            self._wake.set()

    def _end(self, call: PendingToolCall, now: datetime) -> float:
        assert call.due_at is not None
        left_s = (call.due_at - now).total_seconds()
        return self._clock.monotonic() + max(0.0, left_s)

    async def run(self) -> None:
        """Act on each call when its time is over, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            over = [
                (conversation_id, call)
                for conversation_id, ends in self._ends.items()
                for call, end in ends.items()
                if end <= now
            ]
            for first in range(0, len(over), _AT_ONCE):
                some = over[first : first + _AT_ONCE]
                await asyncio.gather(*(self._act(*one) for one in some))
            left = [end for ends in self._ends.values() for end in ends.values()]
            wait_s = max(0.0, min(left) - self._clock.monotonic()) if left else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _act(self, conversation_id: str, known: _Call) -> None:
        lane = self._find(conversation_id)
        if lane is None or lane.entry is None:
            # Another server owns it, or nobody: whoever does next counts for itself.
            self._ends.pop(conversation_id, None)
            return
        state = lane.entry.state
        try:
            for call in awaited(state):
                if (call.id, call.status) == known:
                    await self._finish(state, call)
        except StateError as error:
            log.warning("tool_call.waits", conversation_id=conversation_id, error=str(error))
            ends = self._ends.get(conversation_id, {})
            if known in ends:
                ends[known] = self._clock.monotonic() + _RETRY_S
            return
        ends = self._ends.get(conversation_id, {})
        ends.pop(known, None)
        if not ends:
            self._ends.pop(conversation_id, None)

    async def _finish(self, state: ConversationState, call: PendingToolCall) -> None:
        if call.status == "pending_approval":
            rejection = DecideToolCall(call.id, "time_out", "nobody decided in time")
            await self._submit(state.id, rejection, _key("time-out", call), ACTOR)
            return
        try:
            taught = await self._in_force.taught(state)
            command = command_for(state, ToolCall(call.tool, call.arguments), taught)
            if command is not None:
                await self._submit(state.id, command, _key("run", call), call.caller)
            report = FinishToolCall(call.id, "succeeded")
        except Refused as refusal:
            report = FinishToolCall(call.id, "failed", error=refusal.detail[: bounds.NOTE_CHARS])
        await self._submit(state.id, report, _key("ran", call), ACTOR)


def _key(what: str, call: PendingToolCall) -> str:
    """Name a command so that two owners that attempt it attempt the same."""
    return f"{what}-{sha256(f'{call.requested_at} {call.id}'.encode()).hexdigest()[:24]}"
