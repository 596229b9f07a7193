"""Language models by name: any LiveKit LLM plugin as a provider of replies.

A model is asked in the words of the conversation: its own turns are the assistant's, with the
calls of tools that were made in them, everybody else's the user's with the name in front, and of an
interrupted turn only what was heard.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, Literal

import msgspec
from livekit.agents import llm
from msgspec import Raw

from src.agents.providers.model import Loaded
from src.agents.providers.models import Models
from src.swarm.configs.bots import stage_options
from src.swarm.providers import Outcome, ReplyPart, ReplyRequest, Text, ToolCall
from src.swarm.rules.turns import heard
from src.swarm.shapes import free_json
from src.swarm.shapes.models import ConversationState, Message, Tool

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every model takes for the name of a tool."""
STEPS = 3
"""How often a model is asked again after it called tools without a word."""


class LanguageModel:
    """`Provider` by one plugin's model."""

    def __init__(self, name: str, models: Models) -> None:
        self._name, self._models = name, models

    async def generate(self, request: ReplyRequest) -> AsyncIterator[ReplyPart]:
        """Stream the parts of one reply.

        Raises:
            ProviderMissing, BadProvider, ProviderFailed: say what to add or to mend.
            and whatever the plugin's library raises.
        """
        make = partial(self._models.plugins.make, "llm", self._name, "LLM")
        lease = self._models.lease("llm", self._name, _options(request, self._name), make)
        try:
            model = await lease.loaded()
            async with model.used(), aclosing(_asked(model, request)) as parts:
                async for part in parts:
                    yield part
        finally:
            lease.release()

    async def aclose(self) -> None:
        """Close nothing: the models are the worker's."""


async def _asked(model: Loaded, request: ReplyRequest) -> AsyncGenerator[ReplyPart, None]:
    context = written(request)
    tools: list[llm.Tool] = [function_tool(tool) for tool in request.tools]
    for _ in range(STEPS):
        called: list[llm.ChatItem] = []
        spoken = False
        async with model.opened(_chat(model.made, context, tools)) as stream:
            async for chunk in model.each(stream):
                if chunk.delta is None:
                    continue
                if chunk.delta.content:
                    spoken = True
                    yield Text(chunk.delta.content)
                for call in chunk.delta.tool_calls:
                    yield tool_call(call)
                    called += (
                        llm.FunctionCall(
                            call_id=call.call_id, name=call.name, arguments=call.arguments
                        ),
                        answered(call, request.outcome()),
                    )
        if spoken or not called:
            return
        context.items += called


@asynccontextmanager
async def _chat(
    made: Any, context: llm.ChatContext, tools: list[llm.Tool]
) -> AsyncIterator[llm.LLMStream]:
    """In the model's loop: ask it."""
    async with made.chat(chat_ctx=context, tools=tools) as stream:
        yield stream


def written(request: ReplyRequest) -> llm.ChatContext:
    """Return the conversation as a model reads it, the turn to answer included."""
    context = llm.ChatContext.empty()
    context.add_message(role="system", content=instructions(request))
    numbers = count(1)
    for turn, role, text in turns_of(request):
        if role == "assistant":
            context.items += _calls(turn, numbers)
        context.add_message(role=role, content=text)
    return context


def _calls(turn: Message, numbers: Iterator[int]) -> Iterator[llm.ChatItem]:
    """Give the calls of tools within a turn, each with its result: models refuse one without it.

    They have `numbers` for ids: those that others gave them are not for every model.
    """
    for use in turn.tool_calls:
        result = free_json.read(use.result)
        if result is None or not _TOOL_NAME.fullmatch(use.name):
            continue
        failed = isinstance(result, dict) and result.keys() == {"error"}
        told = result["error"] if failed else result
        call_id = f"call_{next(numbers)}"
        yield llm.FunctionCall(
            call_id=call_id, name=use.name, arguments=bytes(use.arguments).decode()
        )
        yield llm.FunctionCallOutput(
            call_id=call_id,
            name=use.name,
            output=told if isinstance(told, str) else free_json.write(told).decode(),
            is_error=failed,
        )


def turns_of(request: ReplyRequest) -> Iterator[tuple[Message, Literal["assistant", "user"], str]]:
    """Give the turns that were heard, each with whose it is to the model, and its text there."""
    for turn in request.state.messages:
        text = heard(turn)
        if not text:
            continue
        if turn.author.id == request.bot_id and turn.author.kind == "bot":
            yield turn, "assistant", text
        else:
            yield turn, "user", f"[{turn.author.name}] {text}"


def instructions(request: ReplyRequest) -> str:
    """Return who the bot is, what it is for, and who else is there."""
    bot, state = request.bot, request.state
    parts = [
        f"You are {bot.name}" + (f", {bot.role}." if bot.role else "."),
        bot.persona,
        bot.instructions,
        f"Your goal: {bot.goal}" if bot.goal else "",
        f"What this conversation is for: {state.config.goal}" if state.config.goal else "",
        "" if request.teaching is None else request.teaching.instructions,
        _company(state, request.bot_id),
        "Others' turns begin with their name in brackets; never begin yours so.",
    ]
    return "\n\n".join(filter(None, parts))


def _company(state: ConversationState, bot_id: str) -> str:
    others = [
        f"{member.name} ({member.kind})"
        for member in state.participants
        if member.id != bot_id and member.state != "left"
    ]
    return f"With you are: {', '.join(others)}." if others else ""


def _options(request: ReplyRequest, name: str) -> dict[str, Any]:
    """Return the model's options: the bot's where it names the model, else what it inherits."""
    own = name in (request.bot.providers.llm, *request.bot.providers.fallback)
    given = (
        stage_options(request.bot.providers, "llm")
        if own
        else request.state.config.llm_config.options
    )
    options = msgspec.json.decode(given)
    assert isinstance(options, dict)
    return options


def tool_call(call: llm.FunctionToolCall | llm.FunctionCall) -> ToolCall:
    """Return a model's call as the swarm takes it."""
    return ToolCall(call.name, Raw(call.arguments.encode() or b"{}"))


def answered(
    call: llm.FunctionToolCall | llm.FunctionCall, outcome: Outcome
) -> llm.FunctionCallOutput:
    """Return what a model is told of its call: the swarm does it, or has somebody decide on it."""
    return llm.FunctionCallOutput(
        call_id=call.call_id, name=call.name, output=outcome.text, is_error=outcome.refused
    )


def function_tool(tool: Tool) -> llm.RawFunctionTool[..., Any]:
    """Return a tool as models are told of it; the swarm runs it, not the model's library."""

    async def never(raw_arguments: dict[str, object]) -> None:
        raise AssertionError("the swarm runs tools, not the model's library")

    schema = msgspec.json.decode(tool.input_schema) or {"type": "object", "properties": {}}
    return llm.function_tool(
        never,
        raw_schema={"name": tool.name, "description": tool.description, "parameters": schema},
    )
