"""Bots and teams as clients edit them, with every bound in the types.

Their decoders are the one door for outside bytes: what comes out has canonical maps, known topic
patterns and a script that can be played.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm import blackboard, bounds, configuring, free_json, script, topics
from src.swarm.bounds import Id, Label, LongText, Name, Note, Priority, Topic
from src.swarm.commands import Assignment
from src.swarm.errors import InvalidCommand
from src.swarm.free_json import EMPTY
from src.swarm.limits import Limits
from src.swarm.models import Config, Mode, Policy, ResponderRules, Scheduling

SCHEMA = 1
OPTIONS_BYTES = 65_536

Schema = Annotated[int, Meta(ge=1, le=SCHEMA)]
_Topics = Annotated[tuple[Topic, ...], Meta(max_length=100)]


class _Part(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A part of a config."""


class ProviderNames(_Part, frozen=True, gc=False):
    """Which providers a bot uses, each as `plugin/model`; empty: what the conversation uses."""

    stt: Label = ""
    llm: Label = ""
    tts: Label = ""
    realtime: Label = ""
    options: Raw = EMPTY
    """{"stt" | "llm" | "tts" | "realtime": options of that provider}, at most 64 KiB."""
    fallback: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()
    """Language models to try, in order, when `llm` fails."""


class BotTool(_Part, frozen=True, gc=False):
    """A tool of a bot's own: a function by entry point, an HTTP call, or an MCP server."""

    name: Name
    kind: Literal["function", "http", "mcp"] = "function"
    target: Note = ""
    """Entry point `package.module:name`, URL, or address of the server."""
    description: Note = ""
    input_schema: Raw = EMPTY


class BotConfig(_Part, frozen=True, gc=False):
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


class Membership(_Part, frozen=True, gc=False):
    """A bot's place in a team."""

    bot: Id
    role: Label = ""
    priority: Priority = 0


class Structure(_Part, frozen=True, gc=False):
    """The organisation of a team in a notation of its own; swarmstate hands it on unread."""

    type: Label = ""
    content: LongText = ""


class TeamDefaults(_Part, frozen=True, gc=False):
    """What conversations of the team start with, unless their own config says otherwise."""

    limits: Limits = Limits()
    scheduling: Scheduling = Scheduling()
    policy: Policy = Policy()
    responder: ResponderRules = ResponderRules()
    blackboard: Annotated[tuple[Assignment, ...], Meta(max_length=bounds.BLACKBOARD_ITEMS)] = ()


class TeamConfig(_Part, frozen=True, gc=False):
    """Bots that work together, and what for."""

    name: Name
    schema: Schema = SCHEMA
    members: Annotated[tuple[Membership, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    objectives: Annotated[tuple[Note, ...], Meta(max_length=100)] = ()
    structure: Structure = Structure()
    defaults: TeamDefaults = TeamDefaults()


_encoder = msgspec.json.Encoder()
_bots = msgspec.json.Decoder(BotConfig)
_teams = msgspec.json.Decoder(TeamConfig)

OFFLINE = "offline/rules"


T = TypeVar("T")


def encode_config(config: BotConfig | TeamConfig) -> bytes:
    """Return the config as JSON: for the store, for caches and for clients."""
    return _encoder.encode(config)


def decode_bot(body: bytes) -> BotConfig:
    """Return the bot's config in these bytes, canonical.

    Raises:
        InvalidCommand, Refused: out of bounds or of a wrong type; names the field.
    """
    bot = _decoded(_bots, body)
    for index, pattern in enumerate(bot.subscriptions):
        if not topics.is_pattern(pattern):
            detail = f"{pattern!r} is no topic pattern; write levels parted by /, + or a last #"
            raise Refused("invalid", detail, field=f"subscriptions[{index}]")
    stages = dict[Literal["stt", "llm", "tts", "realtime"], dict[str, Any]]
    options = free_json.accept_map(
        bot.providers.options, stages, "providers.options", max_bytes=OPTIONS_BYTES
    )
    providers = replace(bot.providers, options=options)
    if providers.llm in ("", OFFLINE) and options != EMPTY:
        script.parse(stage_options(providers, "llm"), "providers.options.llm")
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
    return replace(bot, providers=providers, tools=tools)


def decode_team(body: bytes) -> TeamConfig:
    """Return the team's config in these bytes, canonical; refuses like `decode_bot`."""
    team = _decoded(_teams, body)
    bounds.unique((member.bot for member in team.members), "members[{}].bot")
    given = team.defaults
    config = configuring.accepted(
        Config(scheduling=given.scheduling, responder=given.responder), "defaults"
    )
    values = blackboard.from_assignments(given.blackboard, "defaults.blackboard")
    defaults = replace(
        given,
        scheduling=config.scheduling,
        responder=config.responder,
        blackboard=tuple(Assignment(value.id, value.value) for value in values),
    )
    return replace(team, defaults=defaults)


def stage_options(providers: ProviderNames, stage: str) -> Raw:
    """Return the options of one stage, `{}` if there are none."""
    return free_json.write(free_json.read(providers.options).get(stage, {}))


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        config = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise InvalidCommand(str(exc), field=free_json.place(exc)) from exc
    if free_json.has_nul(body):
        raise InvalidCommand("body: it contains the character U+0000; remove it")
    return config
