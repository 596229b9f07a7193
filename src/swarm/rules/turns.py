"""Turns: who may add one, what its event holds, and the window of recent turns in the state."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context, Meta, event_id
from src.swarm.configs import inheritance
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.commands import PostMessage, SaveTurn, Speaker
from src.swarm.shapes.events import MessageAdded
from src.swarm.shapes.free_json import EMPTY
from src.swarm.shapes.models import (
    Author,
    AuthorKind,
    BotStats,
    ConversationState,
    Message,
    Role,
    Stats,
    ToolUse,
)

_encode = msgspec.json.Encoder().encode

# What no text column or UTF-8 stream can hold. Checked here too, not only where HTTP comes in:
# the words of a model reach this file without passing there.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_ROLES: dict[AuthorKind, Role] = {"person": "user", "bot": "assistant", "system": "system"}


def post(
    state: ConversationState, command: PostMessage, context: Context, index: int = 0
) -> MessageAdded:
    """Decide one turn, the index-th event of its command."""
    speaker = command.author
    _check_storable(speaker.id, "author.id")
    _check_storable(speaker.name, "author.name")
    if command.id is not None and _is_known(state, command.id):
        raise Refused("exists", f"message {command.id} is already there", field="id")
    author = author_of(state, speaker, "author.id")
    check_text(command.text, "text")
    tool_calls = tuple(map(_tool_use, command.tool_calls)) if command.tool_calls else ()
    if tool_calls and len(_encode(tool_calls)) > bounds.TOOL_CALLS_BYTES:
        detail = f"tool_calls are over {bounds.TOOL_CALLS_BYTES} bytes; store their results"
        raise Refused("too_large", detail, field="tool_calls")
    metrics = command.metrics
    if metrics is not EMPTY:
        metrics = free_json.accept_map(
            metrics, dict[str, Any], "metrics", max_bytes=bounds.METRICS_BYTES
        )
    ended_at = bounds.utc(command.ended_at, "ended_at") or context.at
    started_at = bounds.utc(command.started_at, "started_at") or ended_at
    if started_at > ended_at:
        raise Refused("out_of_order", "ended_at is before started_at; swap them", field="ended_at")
    return MessageAdded(
        Message(
            id=command.id or event_id(context.key, index),
            author=author,
            role=command.role or _ROLES[speaker.kind],
            text=command.text,
            started_at=started_at,
            ended_at=ended_at,
            tool_calls=tool_calls,
            reply_to=command.reply_to,
            interrupted=command.interrupted,
            spoken_until=command.spoken_until,
            metrics=metrics,
            config_version=command.config_version,
        )
    )


def save(
    state: ConversationState, command: SaveTurn, context: Context
) -> tuple[MessageAdded, MessageAdded]:
    """Decide the two turns of a saved exchange."""
    asker, replier = usual_author(state, "user"), usual_author(state, "assistant")
    if command.user_id is not None:
        asker = Speaker("person", command.user_id)
    if command.bot_id is not None:
        replier = Speaker("bot", command.bot_id)
    asked = _exchange(state, asker, command.user_message, "user", context, 0, "user")
    answered = _exchange(
        state, replier, command.assistant_message, "assistant", context, 1, "assistant"
    )
    return (asked, replace(answered, message=replace(answered.message, reply_to=asked.message.id)))


def added(state: ConversationState, event: MessageAdded, meta: Meta) -> dict[str, object]:
    """Fold a turn: the window moves on, the statistics count it, a passed baton is taken."""
    message = replace(event.message, seq=meta.version.seq)
    window = state.messages
    size = state.window_bytes + _size(message)
    if len(window) < bounds.WINDOW_MESSAGES and size <= bounds.WINDOW_BYTES:
        messages = (*window, message)
    else:
        messages, size = _moved_on(window, message, size)
    changes: dict[str, object] = {
        "messages": messages,
        "window_bytes": size,
        "stats": _counted(state.stats, message),
    }
    if state.speech is not None and state.speech.id == message.id:
        changes["speech"] = None
    baton = state.baton
    if baton is not None and not baton.taken and baton.holder == message.author.id:
        changes["baton"] = replace(baton, taken=True)
    return changes


def _moved_on(
    window: tuple[Message, ...], message: Message, size: int
) -> tuple[tuple[Message, ...], int]:
    """Drop the oldest turns until the new one fits; the new one itself always stays."""
    first = 0
    while first < len(window) and (
        len(window) - first >= bounds.WINDOW_MESSAGES or size > bounds.WINDOW_BYTES
    ):
        size -= _size(window[first])
        first += 1
    return (*window[first:], message), size


def _size(message: Message) -> int:
    return len(_encode(message)) + 1  # the comma


def _counted(stats: Stats, message: Message) -> Stats:
    words = len(message.text.split())
    bots, responding_s = stats.bots, stats.responding_s
    if message.author.kind == "bot":
        bots = with_bot(bots, BotStats(message.author.id, turns=1, words=words))
        bots = responded(bots, message.author.id)
        responding_s += (message.ended_at - message.started_at).total_seconds()
    elif message.author.kind == "person":
        bots = responded(bots)
    return replace(
        stats,
        turns=stats.turns + 1,
        words=stats.words + words,
        started_at=stats.started_at or message.started_at,
        responding_s=responding_s,
        bots=bots,
    )


def responded(bots: tuple[BotStats, ...], bot_id: str | None = None) -> tuple[BotStats, ...]:
    """Return the statistics with the response under way ended, of one bot or of all.

    It ends with the bot's turn, with a person's, and when the end of its cycle is reported.
    """
    if not any(known.response_tool_calls or known.response_credits for known in bots):
        return bots
    return tuple(
        replace(known, response_tool_calls=0, response_credits=0)
        if bot_id in (None, known.bot)
        else known
        for known in bots
    )


def with_bot(bots: tuple[BotStats, ...], more: BotStats) -> tuple[BotStats, ...]:
    """Return the statistics with `more` added to those of its bot."""
    for index, known in enumerate(bots):
        if known.bot == more.bot:
            total = BotStats(
                known.bot,
                known.tool_calls + more.tool_calls,
                known.credits + more.credits,
                known.turns + more.turns,
                known.words + more.words,
                known.response_tool_calls + more.response_tool_calls,
                known.response_credits + more.response_credits,
            )
            return (*bots[:index], total, *bots[index + 1 :])
    return (*bots, more)


def open_turns(state: ConversationState) -> list[Message]:
    """The turns that may lack an answer: rooms answer in order, so none before an answered one.

    The newest answered turn is among them, since not all of its bots may have spoken. A bot's turn
    that names none stands for all that was said before it. What was said before the conversation
    was started, an imported history for instance, was never open.
    """
    places = {turn.id: place for place, turn in enumerate(state.messages)}
    first = 0
    for place, turn in enumerate(state.messages):
        if turn.author.kind == "bot":
            first = max(first, places.get(turn.reply_to or "", place))
    return [turn for turn in state.messages[first:] if turn.seq > state.started_seq]


def author_of(state: ConversationState, speaker: Speaker, field: str) -> Author:
    """Return who it is that speaks, as it is called now.

    Raises:
        Refused: nobody who may speak here; names `field`.
    """
    if speaker.kind == "system":
        return Author("system", speaker.id, speaker.name or speaker.id)
    member = state.participant(speaker.id)
    if member is not None:
        if member.kind != speaker.kind:
            detail = f"{speaker.id} is a {member.kind}, not a {speaker.kind}"
            raise Refused("wrong_kind", detail, field=field)
        if speaker.name not in ("", member.name):
            detail = f"{member.id} has another name in conversation {state.id}; leave the name out"
            raise Refused("wrong_name", detail, field="author.name")
        return Author(member.kind, member.id, member.name)
    if speaker.kind == "bot" or inheritance.policy(state.config).visibility != "open":
        detail = f"{speaker.kind} {speaker.id} is not in conversation {state.id}; add it first"
        raise Refused("not_a_participant", detail, field=field)
    return Author("person", speaker.id, speaker.name or speaker.id)


def _is_known(state: ConversationState, id: str) -> bool:
    if state.speech is not None and state.speech.id == id:
        return True
    return any(known.id == id for known in state.messages)


def _exchange(
    state: ConversationState,
    speaker: Speaker,
    text: str,
    role: Role,
    context: Context,
    index: int,
    name: str,
) -> MessageAdded:
    """One half of a saved exchange; `name` begins the names of its fields."""
    author = author_of(state, speaker, f"{'bot' if index else 'user'}_id")
    check_text(text, f"{name}_message")
    at = context.at
    return MessageAdded(Message(event_id(context.key, index), author, role, text, at, at))


def usual_author(state: ConversationState, role: Role) -> Speaker:
    """Return who says what comes without an author.

    A user's words are the only person's, else "user"'s; an assistant's the default bot's, else the
    only bot's, else those of the author "assistant" of kind system.
    """
    if role == "user":
        people = [member.id for member in state.participants if member.kind == "person"]
        return Speaker("person", people[0] if len(people) == 1 else "user")
    bot = _usual_bot(state) if role == "assistant" else None
    return Speaker("system", role) if bot is None else Speaker("bot", bot)


def _usual_bot(state: ConversationState) -> str | None:
    usual = inheritance.responder(state.config).default_bot
    if usual is not None and state.participant(usual) is not None:
        return usual
    bots = state.bots
    return bots[0].id if len(bots) == 1 else None


def _tool_use(call: ToolUse) -> ToolUse:
    return replace(
        call,
        arguments=free_json.accept_map(call.arguments, dict[str, Any], "tool_calls.arguments"),
        result=free_json.accept(call.result, "tool_calls.result"),
    )


def heard(turn: Message) -> str:
    """Return the words of a turn that were said: of an interrupted one those until the break."""
    return turn.text[: turn.spoken_until] if turn.interrupted else turn.text


def check_text(text: str, field: str) -> None:
    """Raises Refused, naming `field`, unless this can be the text of a turn."""
    _check_storable(text, field)
    # At most six bytes of JSON per character, so that short texts need no measuring.
    if not text or (6 * len(text) > bounds.TEXT_BYTES and len(_encode(text)) > bounds.TEXT_BYTES):
        detail = f"{field} has {len(text)} characters; send 1 to 32768, at most 64 KiB of JSON"
        raise Refused("too_large", detail, field=field)


def _check_storable(text: str, field: str) -> None:
    if not text.isprintable() and _UNSTORABLE.search(text):
        detail = f"{field} contains U+0000 or half of a surrogate pair; remove it"
        raise Refused("invalid", detail, field=field)
