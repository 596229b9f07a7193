"""The tool calls of one reply: each becomes a command, and its bot learns what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm.dialogue.reports import command_key
from src.swarm.in_force import InForce
from src.swarm.outage import Submit
from src.swarm.providers import Outcome, ToolCall
from src.swarm.rules import lesson_tools, lessons
from src.swarm.rules.lessons import Taught
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
        in_force: InForce,
        state: StateNow,
        began: ConversationState,
        turn: Message,
        bot_id: str,
    ) -> None:
        self._submit, self._in_force, self._state = submit, in_force, state
        self._id, self._turn, self._bot_id = began.id, turn, bot_id
        self._limit = effective(began.config.limits).tool_calls_per_response
        self.person = turn.author.id if turn.author.kind == "person" else None
        """Who is answered, if it is a person."""
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
                raise Refused(code, f"a reply has {self._limit} tool calls at most; go on without")
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
        command, taught = None, None
        if not must_wait(state, call.name):
            if call.name in lesson_tools.NAMES:
                taught = await self._in_force.taught(state, self.person)
            command = command_for(state, call, taught)
        asked = RequestToolCall(call.name, self._bot_id, call.arguments)
        key = command_key(f"tool-{self._made}", self._turn.id, self._bot_id)
        await self._submit(self._id, command or asked, key, self._bot_id)
        if command is None:
            return Outcome()
        return DONE if taught is None else await self._told(call, taught)

    async def _told(self, call: ToolCall, taught: Taught) -> Outcome:
        """Say what the lesson is now. It may be what an earlier attempt at this reply made of it:
        then the call was known by its key, and has moved nothing a second time."""
        state = await self._state(self._id)
        lesson = None if state is None else lessons.lesson_of(state)
        if lesson is None or lesson.topic != taught.lesson.topic:
            return DONE
        return Outcome(lesson_tools.told(call, replace(taught, lesson=lesson)))
