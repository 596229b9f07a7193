"""Bots: who they are and what they run on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm.configs import script
from src.swarm.configs.decoding import SCHEMA, Part, Schema, decoded
from src.swarm.shapes import bounds, free_json, options, topics
from src.swarm.shapes.bounds import Label, LongText, Name, Note, Topic
from src.swarm.shapes.free_json import EMPTY, Object, holds
from src.swarm.shapes.models import Mode

OPTIONS_BYTES = 65_536
OFFLINE = "offline/rules"

_Stages = dict[Literal["stt", "llm", "tts", "realtime"], dict[str, Any]]
_Topics = Annotated[tuple[Topic, ...], Meta(max_length=100)]


class ProviderNames(Part, frozen=True, gc=False):
    """Which providers are used, each as `plugin/model`; empty: what the next layer above says."""

    stt: Label = ""
    llm: Label = ""
    tts: Label = ""
    realtime: Label = ""
    options: Annotated[Raw, holds(_Stages)] = EMPTY
    """{"stt" | "llm" | "tts" | "realtime": options of that provider}, at most 64 KiB."""
    fallback: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()
    """Language models to try, in order, when `llm` fails."""


class BotTool(Part, frozen=True, gc=False):
    """A tool of a bot's own: a function by entry point, an HTTP call, or an MCP server. A call of
    it waits in the conversation for whoever runs such things, and reports what came of it."""

    name: Name
    kind: Literal["function", "http", "mcp"] = "function"
    target: Note = ""
    """Entry point `package.module:name`, URL, or address of the server."""
    description: Note = ""
    input_schema: Object = EMPTY


class BotConfig(Part, frozen=True, gc=False):
    """Who a bot is and what it runs on."""

    name: Name
    schema: Schema = SCHEMA
    persona: LongText = ""
    goal: LongText = ""
    role: Label = ""
    instructions: LongText = ""
    providers: ProviderNames = ProviderNames()
    voice: Label = ""
    tools: Annotated[tuple[BotTool, ...], Meta(max_length=bounds.TOOLS)] = ()
    subscriptions: _Topics = ()
    capabilities: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    mode: Mode = "proactive"


_bots = msgspec.json.Decoder(BotConfig)


def decode_bot(body: bytes) -> BotConfig:
    """Return the bot's config in these bytes, canonical.

    Raises:
        InvalidCommand, Refused: out of bounds or of a wrong type; names the field.
    """
    bot = decoded(_bots, body)
    for index, pattern in enumerate(bot.subscriptions):
        if not topics.is_pattern(pattern):
            detail = f"{pattern!r} is no topic pattern; write levels parted by /, + or a last #"
            raise Refused("invalid", detail, field=f"subscriptions[{index}]")
    tools = tuple(
        replace(
            tool,
            input_schema=free_json.accept_map(
                tool.input_schema, dict[str, Any], f"tools[{index}].input_schema"
            ),
        )
        for index, tool in enumerate(bot.tools)
    )
    bounds.unique((tool.name for tool in tools), "tools[{}].name")
    return replace(bot, providers=accepted_providers(bot.providers, "providers"), tools=tools)


def accepted_providers(providers: ProviderNames, field: str) -> ProviderNames:
    """Return providers with canonical options; a script for the offline one can be played."""
    given = free_json.accept_map(
        providers.options, _Stages, f"{field}.options", max_bytes=OPTIONS_BYTES
    )
    providers = replace(providers, options=given)
    for stage, of_stage in free_json.read(given).items():
        options.accept(of_stage, f"{field}.options.{stage}")
    if providers.llm in ("", OFFLINE) and given != EMPTY:
        script.parse(stage_options(providers, "llm"), f"{field}.options.llm")
    return providers


def stage_options(providers: ProviderNames, stage: str) -> Raw:
    """Return the options of one stage, `{}` if there are none."""
    return free_json.write(free_json.read(providers.options).get(stage, {}))
