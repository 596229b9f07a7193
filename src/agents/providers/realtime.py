"""Realtime models by name: what they say comes with its sound, in a voice of their own.

In a team nobody speaks into such a model: it is given the turns of all as text, as every other
model is, and it speaks when its bot has the floor. Its own ears and its own idea of whose turn it
is are off.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from livekit.agents import llm

from src.agents.providers.language import (
    STEPS,
    answered,
    function_tool,
    instructions,
    tool_call,
    turns_of,
)
from src.agents.providers.plugins import Plugins
from src.state.background import end
from src.swarm.configs.bots import stage_options
from src.swarm.providers import ReplyPart, ReplyRequest, Sound, Text

_SESSIONS = 64
"""Connections that are kept, one for a bot in a conversation; beyond it the longest unused ends."""
_ID_CHARS = 32
"""Longest id of an item that these models take."""


class RealtimeVoice:
    """`Provider` by one plugin's realtime model."""

    def __init__(self, name: str, plugins: Plugins) -> None:
        self._name, self._plugins = name, plugins
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        """Stream the parts of one reply, text with the sound of it.

        Raises:
            ProviderMissing, BadProvider: say what to add or to mend.
            RealtimeError: no answer; and whatever the plugin's library raises.
        """
        session = await self._session(request)
        whole = False
        try:
            async with aclosing(session.reply(request)) as parts:
                async for part in parts:
                    yield part
            whole = True
        finally:
            if not whole:
                # What the model holds now is not what was heard: it begins anew next time.
                await self._end((request.state.id, request.bot_id))

    async def aclose(self) -> None:
        """End all connections."""
        for key in list(self._sessions):
            await self._end(key)

    async def _session(self, request: ReplyRequest) -> _Session:
        key = (request.state.id, request.bot_id)
        options = _options(request)
        session = self._sessions.get(key)
        if session is not None and session.options != options:
            await self._end(key)
            session = None
        if session is None:
            while len(self._sessions) >= _SESSIONS:
                await self._end(next(iter(self._sessions)))
            model = self._plugins.make("realtime", self._name, "realtime.RealtimeModel", options)
            session = self._sessions[key] = _Session(model, options)
        self._sessions.move_to_end(key)
        return session

    async def _end(self, key: tuple[str, str]) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            await session.aclose()


class _Session:
    """One connection: what a bot of one conversation speaks with."""

    def __init__(self, model: llm.RealtimeModel, options: dict[str, Any]) -> None:
        self._model, self.options = model, options
        own = model.capabilities.can_disable_turn_detection
        self._session = model.session(turn_detection_disabled=own)

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyPart, None]:
        context = llm.ChatContext.empty()
        for turn, role, text in turns_of(request):
            context.add_message(role=role, content=text, id=_item_id(turn.id))
        await self._session.update_instructions(instructions(request))
        await self._session.update_tools([function_tool(tool) for tool in request.tools])
        for _ in range(STEPS):
            await self._session.update_chat_ctx(context)
            made = await self._session.generate_reply()
            spoken = False
            async with aclosing(_said(made)) as parts:
                async for part in parts:
                    spoken = True
                    yield part
            calls = [call async for call in made.function_stream]
            outputs: list[llm.ChatItem] = []
            for call in calls:
                yield tool_call(call)
                outputs.append(answered(call, request.outcome()))
            if spoken or not calls:
                return
            context = self._session.chat_ctx.copy()
            context.items += outputs

    async def aclose(self) -> None:
        self._session.interrupt()
        await self._session.aclose()
        await self._model.aclose()


async def _said(made: llm.GenerationCreatedEvent) -> AsyncGenerator[ReplyPart, None]:
    """Give text and sound of an answer; a text comes after the sound that it begins with.

    A model that answers in text alone, as some do after a history of text, has no sound: whoever
    speaks such a text needs another voice.
    """
    async for message in made.message_stream:
        if "audio" not in await message.modalities:
            async for piece in message.text_stream:
                yield Text(str(piece))
            continue
        # Text comes ahead of its sound, and is no longer than an answer may be.
        texts: deque[str] = deque()
        reading = asyncio.create_task(_read(message, texts))
        try:
            async for frame in message.audio_stream:
                yield Sound(bytes(frame.data), frame.sample_rate)
                while texts:
                    yield Text(texts.popleft())
            await reading
            for piece in texts:
                yield Text(piece)
        finally:
            await end((reading,))


async def _read(message: llm.MessageGeneration, texts: deque[str]) -> None:
    async for piece in message.text_stream:
        texts.append(str(piece))


def _item_id(turn_id: str) -> str:
    if len(turn_id) <= _ID_CHARS:
        return turn_id
    return hashlib.sha256(turn_id.encode()).hexdigest()[:_ID_CHARS]


def _options(request: ReplyRequest) -> dict[str, Any]:
    options = msgspec.json.decode(stage_options(request.voiced, "realtime"))
    assert isinstance(options, dict)
    return {"voice": request.bot.voice, **options} if request.bot.voice else options
