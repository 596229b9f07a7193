"""Providers of replies: the port, and the one provider that needs no network (`offline.py`).

A provider is asked for one reply of one bot and streams its parts. It changes no state: what it
says becomes a turn, and what it calls a command, in the runtime that asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.shapes.free_json import EMPTY
from src.swarm.shapes.models import ConversationState, Message, Tool


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What came of a tool call, in words for a model."""

    text: str = "asked for"
    """As it is said of a call that somebody else makes, or has to approve."""
    refused: bool = False


class Teaching(msgspec.Struct, frozen=True, gc=False):
    """What a bot of a lesson teaches now."""

    title: str = ""
    content: str = ""
    """Of the present subtopic; both empty where the topic has none."""
    instructions: str = ""
    """All that a model has to know of it."""


class ReplyRequest(msgspec.Struct, frozen=True, gc=False):
    """What a reply is made of."""

    bot_id: str
    bot: BotConfig
    state: ConversationState
    turn: Message
    """The turn to answer; the newer ones in `state` came after it."""
    tools: tuple[Tool, ...] = ()
    """What the bot may call."""
    voiced: ProviderNames = ProviderNames()
    """In a room of sound: what its voice is made of, what it inherits included."""
    teaching: Teaching | None = None
    """None: the conversation is no lesson."""
    outcome: Callable[[], Outcome] = Outcome
    """Says what came of the call that was given last, as soon as the next part is asked for."""


class Text(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """A piece of what the bot says; pieces are joined as they are."""

    text: str


class Sound(msgspec.Struct, frozen=True, gc=False, tag="sound"):
    """A piece of how it sounds, from a provider that has a voice of its own.

    A reply with sound begins with it, and its text is what is said in it; a reply without is
    spoken by the bot's own voice.
    """

    pcm: bytes
    """Mono, 16 bits."""
    sample_rate: int
    """Samples a second."""


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool_call"):
    """A call that the bot makes; `arguments` is a JSON object."""

    name: str
    arguments: Raw = EMPTY


ReplyPart = Text | Sound | ToolCall


class Provider(Protocol):
    """Something that can say what a bot says next. Safe for many replies at once."""

    def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        """Stream the parts of one reply, in order; no part at all means silence.

        The caller may stop at any part by closing the iterator (barge-in).
        """
        ...


class OwnProvider(Provider, Protocol):
    """A provider that whoever had it made has to close."""

    async def aclose(self) -> None:
        """Close its connections; no reply is under way any more."""
        ...
