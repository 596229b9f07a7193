"""The time to approve a tool call: over, the conversation's owner rejects the call by itself.

What is left of that time is counted from the conversation's newest event on, for both times are
of its own log, and runs on this server's clock: no two machines' clocks are compared. So a new
owner never rejects too early, and too late by no longer than the conversation was silent before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

import structlog

from src.state.buffers import Buffer
from src.state.errors import Refused, StateError
from src.state.models import Entry, Event
from src.state.protocols import Clock
from src.swarm import bounds
from src.swarm.commands import DecideToolCall
from src.swarm.models import ConversationState, PendingToolCall
from src.swarm.tool_calls import timed

log = structlog.get_logger(__name__)

ACTOR = "swarmstate"
"""Who decides when nobody has."""

_AT_ONCE = 16
_RETRY_S = 1.0

Submit = Callable[[str, DecideToolCall, str, str], Awaitable[object]]
"""(conversation id, command, key, actor) -> receipt; as the owner, never forwarded"""


class Approvals:
    """Tool calls of the conversations owned here that wait for a decision until some time."""

    def __init__(self, find: Callable[[str], object | None], submit: Submit, clock: Clock) -> None:
        self._find = find
        self._submit = submit
        self._clock = clock
        self._ends: dict[str, dict[str, tuple[float, str]]] = {}
        """Conversation -> tool call -> (its end on this server's clock, key of the rejection)."""
        self._wake = asyncio.Event()
        self.rejected = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here, by the open calls that a conversation may have."""
        waiting = sum(map(len, self._ends.values()))
        return {"timed_approvals": Buffer(waiting, len(self._ends) * bounds.TOOL_CALLS)}

    def owned(self, entry: Entry[ConversationState]) -> None:
        """See to the calls of a conversation that this server owns from now on."""
        self.logged(entry, ())

    def logged(self, entry: Entry[ConversationState], _: Sequence[Event]) -> None:
        """See to calls that were asked for, and forget those that were decided."""
        state = entry.state
        known = self._ends.pop(entry.id, {})
        calls = timed(state) if state.pending_tool_calls else ()
        if not calls:
            return
        self._ends[entry.id] = {
            call.id: known.get(call.id) or (self._end(state, call), _key(call)) for call in calls
        }
        if not known.keys() >= self._ends[entry.id].keys():
            self._wake.set()

    def _end(self, state: ConversationState, call: PendingToolCall) -> float:
        assert call.due_at is not None
        left_s = (call.due_at - state.updated_at).total_seconds()
        return self._clock.monotonic() + max(0.0, left_s)

    async def run(self) -> None:
        """Reject what nobody decided in time, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            over = [
                (conversation_id, call_id, key)
                for conversation_id, calls in self._ends.items()
                for call_id, (end, key) in calls.items()
                if end <= now
            ]
            for first in range(0, len(over), _AT_ONCE):
                await asyncio.gather(
                    *(self._reject(*one) for one in over[first : first + _AT_ONCE])
                )
            ends = [end for calls in self._ends.values() for end, _ in calls.values()]
            wait_s = max(0.0, min(ends) - self._clock.monotonic()) if ends else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _reject(self, conversation_id: str, call_id: str, key: str) -> None:
        if self._find(conversation_id) is None:
            # Another server owns it, or nobody: whoever does next counts for itself.
            self._ends.pop(conversation_id, None)
            return
        command = DecideToolCall(call_id, "time_out", "nobody decided in time")
        try:
            await self._submit(conversation_id, command, key, ACTOR)
            self.rejected += 1
        except Refused as refusal:
            log.info("approval.decided", conversation_id=conversation_id, code=refusal.code)
        except StateError as error:
            log.warning("approval.waits", conversation_id=conversation_id, error=str(error))
            calls = self._ends.get(conversation_id, {})
            if call_id in calls:
                calls[call_id] = (self._clock.monotonic() + _RETRY_S, key)
            return
        calls = self._ends.get(conversation_id, {})
        calls.pop(call_id, None)
        if not calls:
            self._ends.pop(conversation_id, None)


def _key(call: PendingToolCall) -> str:
    """Name the rejection so that two owners that attempt it attempt the same."""
    return f"time-out-{sha256(f'{call.requested_at} {call.id}'.encode()).hexdigest()[:24]}"
