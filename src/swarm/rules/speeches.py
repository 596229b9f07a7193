"""Speeches: what the log is told of a turn while it is being said aloud.

A turn is logged when its speech is over. Of a speech whose host dies there would be nothing, so it
is noted when its first sound is heard, and at the end of each sentence that was heard. If nobody
ends it, those notes are what is known of it: at least `heard` characters were heard. How much more
was, up to the sentence's end or beyond, nobody knows; nor what the bot would have said further.
"""

from __future__ import annotations

from src.state.errors import Refused
from src.state.models import Meta
from src.swarm.rules import turns
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import CutSpeech, NoteSpeech, Speaker
from src.swarm.shapes.events import MessageAdded, SpeechHeard
from src.swarm.shapes.models import ConversationState, Message, Speech


def note(state: ConversationState, command: NoteSpeech) -> tuple[SpeechHeard, ...]:
    """Decide how far a speech is noted; nothing new is no event, nor is what comes too late."""
    known = state.speech
    if any(turn.id == command.id for turn in state.messages):
        # Overtaken by its own turn.
        return ()
    if known is not None and known.id != command.id:
        detail = f"{known.bot} is being heard in conversation {state.id}; one voice at a time"
        raise Refused("held", detail, field="id")
    turns.author_of(state, Speaker("bot", command.bot), "bot")
    turns.check_text(command.text, "text")
    before = "" if known is None else known.text
    if not command.text.startswith(before):
        raise Refused("invalid", "text does not go on from what was noted", field="text")
    more = command.text[len(before) :]
    heard = min(command.heard, len(command.text))
    if known is not None and not more and heard <= known.heard:
        return ()
    started_at = bounds.utc(command.started_at, "started_at") or command.started_at
    told = (command.id, command.bot, more, heard, started_at)
    return (SpeechHeard(*told, command.reply_to, command.config_version),)


def cut(state: ConversationState, command: CutSpeech) -> tuple[MessageAdded, ...]:
    """Decide the turn of a speech that nobody ends; nothing if it was ended after all."""
    speech = state.speech
    if speech is None or speech.id != command.id:
        return ()
    return (
        MessageAdded(
            Message(
                id=speech.id,
                author=turns.author_of(state, Speaker("bot", speech.bot), "id"),
                role="assistant",
                text=speech.text,
                started_at=speech.started_at,
                ended_at=max(speech.started_at, speech.heard_at),
                reply_to=speech.reply_to,
                interrupted=True,
                spoken_until=speech.heard,
                cut_off=True,
                config_version=speech.config_version,
            )
        ),
    )


def heard(state: ConversationState, event: SpeechHeard, meta: Meta) -> dict[str, object]:
    """Fold a note: the speech begins, or goes on."""
    known = state.speech
    before = known.text if known is not None and known.id == event.id else ""
    speech = Speech(
        event.id,
        event.bot,
        before + event.text,
        event.heard,
        event.started_at,
        meta.at,
        event.reply_to,
        event.config_version,
    )
    return {"speech": speech}


def attempt(state: ConversationState, turn: Message, bot_id: str) -> int | None:
    """Return how often a bot was cut off in its answer to a turn; None: it need not answer.

    It answers anew, unless it was heard to the end, or somebody has said something since.
    """
    replies = [
        message
        for message in state.messages
        if message.reply_to == turn.id and message.author.id == bot_id
    ]
    if replies and not (replies[-1].cut_off and replies[-1] is state.messages[-1]):
        return None
    return len(replies)
