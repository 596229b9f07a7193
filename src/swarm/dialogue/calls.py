"""The tool calls of one reply: each becomes a command, and its bot learns what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from src.state.errors import Refused
from src.swarm.dialogue.reports import command_key
from src.swarm.outage import Submit
from src.swarm.providers import Outcome, ToolCall
from src.swarm.rules.tool_calls import must_wait
from src.swarm.rules.tools import command_for
from src.swarm.shapes.limits import effective
from src.swarm.shapes.models import ConversationState, Message
from src.swarm.shapes.work import RequestToolCall

log = structlog.get_logger(__name__)

StateNow = Callable[[str], Awaitable[ConversationState | None]]
"""A running conversation with all that it inherits, certain to be so now; None: it does not run."""

DONE = Outcome("done")


class Calls:
    """Makes a bot's calls within one reply. Their keys are made of turn, bot and number, so those
    of a reply that two servers attempt are made once."""

    def __init__(
        self,
        submit: Submit,
        state: StateNow,
        began: ConversationState,
        turn: Message,
        bot_id: str,
    ) -> None:
        self._submit, self._state = submit, state
        self._id, self._turn, self._bot_id = began.id, turn, bot_id
        self._limit = effective(began.config.limits).tool_calls_per_response
        self._made = 0
        self._last = Outcome()

    def outcome(self) -> Outcome:
        """Return what came of the last call."""
        return self._last

    async def make(self, call: ToolCall) -> None:
        """Have the conversation do what the call asks for.

        Raises:
            StateError, SwarmError: it cannot be known now whether, or under which rules.
        """
        try:
            if self._made >= self._limit:
                code = "limit_tool_calls_per_response"
                raise Refused(code, f"a reply may call {self._limit} tools; go on without")
            self._made += 1
            self._last = await self._make(call)
        except Refused as refusal:
            log.info("tool.refused", bot=self._bot_id, tool=call.name, code=refusal.code)
            self._last = Outcome(refusal.detail, refused=True)

    async def _make(self, call: ToolCall) -> Outcome:
        # As it is now: the reply may have begun a long time ago.
        state = await self._state(self._id)
        if state is None:
            raise Refused("not_running", f"conversation {self._id} does not run any more")
        command = None if must_wait(state, call.name) else command_for(state, call)
        waits = command is None
        if command is None:
            command = RequestToolCall(call.name, self._bot_id, call.arguments)
        key = command_key(f"tool-{self._made}", self._turn.id, self._bot_id)
        await self._submit(self._id, command, key, self._bot_id)
        return Outcome() if waits else DONE
