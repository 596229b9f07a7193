"""LiveKit: a conversation as the ChatContext of an agent, and an AgentSession's turns saved.

Needs `pip install "swarmstate-client[livekit]"`; nothing else of this package imports it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self

from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    FunctionToolsExecutedEvent,
)
from livekit.agents.llm import (
    ChatContext,
    ChatItem,
    ChatMessage,
    ChatRole,
    FunctionCall,
    FunctionCallOutput,
)

from swarmstate_client.answers import Json, Message, ToolUse
from swarmstate_client.client import Client
from swarmstate_client.errors import NotAnswered, SwarmstateError, Unavailable

log = logging.getLogger(__name__)

_ROLES: dict[str, ChatRole] = {"user": "user", "assistant": "assistant"}
_ID = re.compile(r"[A-Za-z0-9._:@-]{1,120}")
_TOOL_CALLS = 50
_TOOL_CALLS_BYTES = 30_000
"""A message takes at most 50 tool calls, and 32 KiB of them."""


async def load_chat(
    swarm: Client, conversation_id: str, *, last: int = 20, bot: str | None = None
) -> ChatContext:
    """Return the last messages, oldest first, for `Agent(chat_ctx=...)`.

    With `bot` the context is that one's: its own turns are the assistant's, everybody else's are
    the user's, with the speaker's name ahead wherever it would not be clear.
    """
    found: list[Message] = []
    if last > 0:
        async for message in swarm.conversations.messages(conversation_id, page=min(last, 200)):
            found.append(message)
            if len(found) == last:
                break
    return chat_of(found[::-1], bot=bot)


def chat_of(messages: Sequence[Message], *, bot: str | None = None) -> ChatContext:
    """Return messages as a ChatContext; a tool call goes along with its result, or not at all."""
    people = {message.author.id for message in messages if message.author.kind == "person"}
    items: list[ChatItem] = []
    for message in messages:
        own = bot is None or message.author.id == bot
        role = _ROLES.get(message.role, "system") if own else "user"
        if own:
            items += _pairs(message)
        named = not own and (message.author.kind != "person" or len(people) > 1)
        said = f"[{message.author.name}] {_heard(message)}" if named else _heard(message)
        items.append(
            ChatMessage(
                id=message.id,
                role=role,
                content=[said],
                interrupted=message.interrupted,
                created_at=message.started_at.timestamp(),
            )
        )
    return ChatContext(items)


def _heard(message: Message) -> str:
    spoken = message.spoken_until if message.interrupted else None
    return message.text if spoken is None else message.text[:spoken]


def _pairs(message: Message) -> Iterable[ChatItem]:
    # Models refuse a call without its result: it is left out as if it had not been made.
    for use in message.tool_calls:
        if use.result is None:
            continue
        output, is_error = _output(use)
        at = message.started_at.timestamp()
        yield FunctionCall(
            call_id=use.id, name=use.name, arguments=json.dumps(use.arguments), created_at=at
        )
        yield FunctionCallOutput(
            call_id=use.id, name=use.name, output=output, is_error=is_error, created_at=at
        )


def _output(use: ToolUse) -> tuple[str, bool]:
    result = use.result
    if isinstance(result, dict) and result.keys() == {"error"}:
        return str(result["error"]), True
    return (result if isinstance(result, str) else json.dumps(result)), False


@dataclass(frozen=True, slots=True)
class _Turn:
    key: str
    text: str
    author: Json
    fields: Json
    waits_since: float = field(default_factory=time.monotonic)


class TurnSaver:
    """Saves each turn of an AgentSession, in order and once, behind the session's back.

    The session's listeners only put turns into a queue; one task, owned by the `async with` block,
    sends them, and waits with all of them while no server answers. Beyond `queue` turns no more are
    taken. At the end of the block what still waits is sent, for at most `flush_s` seconds. A turn
    that could not be saved is counted in `lost` and logged without its words.
    """

    def __init__(
        self,
        swarm: Client,
        conversation_id: str,
        session: AgentSession[Any],  # Whatever the caller's user data is.
        *,
        bot: str,
        person: str,
        queue: int = 1000,
        flush_s: float = 10.0,
    ) -> None:
        self.lost = 0
        self._swarm = swarm
        self._id = conversation_id
        self._session = session
        self._bot = {"kind": "bot", "id": bot}
        self._person = {"kind": "person", "id": person}
        self._queue = queue
        self._flush_s = flush_s
        self._turns: deque[_Turn] = deque()
        self._tools: deque[Json] = deque(maxlen=_TOOL_CALLS)
        self._waiting = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._session.on("conversation_item_added", self._added)
        self._session.on("function_tools_executed", self._executed)
        self._task = asyncio.create_task(self._save_all(), name=f"turns of {self._id}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._session.off("conversation_item_added", self._added)
        self._session.off("function_tools_executed", self._executed)
        assert self._task is not None
        if not await self.flush(self._flush_s):
            self._lose(len(self._turns), "no server took it in time")
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def waiting(self) -> int:
        """How many turns are not saved yet."""
        return len(self._turns)

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest of them has waited; 0.0 when there is none."""
        return time.monotonic() - self._turns[0].waits_since if self._turns else 0.0

    async def flush(self, within_s: float) -> bool:
        """Wait until every turn is saved, or counted as lost; False when the time is over."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, ChatMessage) or item.role not in _ROLES:
            return
        text = (item.text_content or "").replace("\x00", "")
        if not text:
            return
        if len(self._turns) >= self._queue:
            self._lose(1, f"{self._queue} turns wait already")
            return
        author, fields = self._person, _fields(item)
        if item.role == "assistant":
            author = self._bot
            fields["tool_calls"] = _fitting(self._tools)
            self._tools.clear()
        self._turns.append(_Turn(_key(item.id), text, author, fields))
        self._idle.clear()
        self._waiting.set()

    def _executed(self, event: FunctionToolsExecutedEvent) -> None:
        # The bot's next words are what it made of them: there they are saved.
        self._tools.extend(_use(call, output) for call, output in event.zipped())

    async def _save_all(self) -> None:
        failures = 0
        while True:
            while self._turns:
                try:
                    await self._save(self._turns[0])
                except (NotAnswered, Unavailable) as error:
                    failures += 1
                    log.warning("turns of %s wait: %s", self._id, type(error).__name__)
                    await asyncio.sleep(self._swarm.patience.pause(failures, None))
                    continue
                except SwarmstateError as error:
                    self._lose(1, str(error))
                failures = 0
                self._turns.popleft()
            self._idle.set()
            self._waiting.clear()
            await self._waiting.wait()

    async def _save(self, turn: _Turn) -> None:
        await self._swarm.conversations.say(
            self._id, turn.text, author=turn.author, key=turn.key, id=turn.key, **turn.fields
        )

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        log.error("%d turns of %s were not saved: %s", count, self._id, why)


def _fields(item: ChatMessage) -> dict[str, Any]:
    began = item.metrics.get("started_speaking_at", item.created_at)
    ended = max(began, item.metrics.get("stopped_speaking_at", began))
    numbers = {
        name: value for name, value in item.metrics.items() if isinstance(value, int | float)
    }
    return {
        "started_at": _time(began),
        "ended_at": _time(ended),
        "interrupted": item.interrupted,
        "metrics": numbers,
    }


def _use(call: FunctionCall, output: FunctionCallOutput | None) -> Json:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = {}
    use = {
        "id": _key(call.call_id),
        "name": call.name,
        "arguments": arguments if isinstance(arguments, dict) else {},
    }
    if output is not None:
        use["result"] = {"error": output.output} if output.is_error else output.output
    return use


def _fitting(uses: Iterable[Json]) -> list[Json]:
    """Return the newest of them that a message takes, in order."""
    kept: list[Json] = []
    size = 0
    for use in reversed(list(uses)):
        size += len(json.dumps(use))
        if size > _TOOL_CALLS_BYTES:
            log.warning("tool calls that were too large for their message were left out of it")
            break
        kept.append(use)
    return kept[::-1]


def _key(id: str) -> str:
    """Return an id that servers take: this one, or a digest of it."""
    return id if _ID.fullmatch(id) else sha256(id.encode()).hexdigest()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
