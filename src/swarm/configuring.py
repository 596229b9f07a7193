"""The config of a conversation: what a merge patch may make of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm import bounds, free_json, topics
from src.swarm.commands import PatchConfig
from src.swarm.events import ConfigChanged
from src.swarm.models import MAPS, Config, ConversationState, Tool

_decoder = msgspec.json.Decoder(Config)


def patch(state: ConversationState, command: PatchConfig) -> tuple[ConfigChanged, ...]:
    """Decide the config after a merge patch; nothing if it is the same.

    Raises:
        Refused: the result is no valid config; names the place in it.
    """
    given = free_json.accept_map(
        command.patch, dict[str, Any], "patch", max_bytes=bounds.REST_BYTES
    )
    wanted = free_json.read(given)
    before = free_json.read(free_json.write(state.config))
    after = free_json.write(free_json.merge_patch(before, wanted))
    try:
        decoded = _decoder.decode(after)
    except msgspec.ValidationError as exc:
        raise Refused("invalid", f"patch: {exc}", field=free_json.place(exc, "patch")) from exc
    config = accepted(decoded, "patch")
    changed = tuple(
        field.encode_name
        for field in msgspec.structs.fields(Config)
        if getattr(config, field.name) != getattr(state.config, field.name)
    )
    return (ConfigChanged(config, changed),) if changed else ()


def accepted(config: Config, field: str) -> Config:
    """Return the config with its maps checked and made canonical.

    Raises:
        Refused: a map of the wrong type, or a subscription to something that is no pattern.
    """
    changes: dict[str, Any] = {}
    for part, name, kind in MAPS:
        owner = getattr(config, part) if part else config
        place = ".".join(filter(None, (field, _wire(part), name)))
        raw = free_json.accept_map(getattr(owner, name), kind, place)
        if part:
            changes[part] = replace(changes.get(part, owner), **{name: raw})
        else:
            changes[name] = raw
    for pattern in free_json.read(changes["event_subscriptions"]):
        if not topics.is_pattern(pattern):
            detail = f"{pattern!r} is no topic pattern; write levels parted by /, + or a last #"
            raise Refused("invalid", detail, field=f"{field}.event_subscriptions")
    return replace(config, **changes)


def accepted_tools(tools: tuple[Tool, ...], field: str) -> tuple[Tool, ...]:
    """Return tools with their schemas checked and made canonical; each name once."""
    bounds.unique((tool.name for tool in tools), f"{field}[{{}}].name")
    kind = dict[str, Any]
    return tuple(
        replace(
            tool,
            input_schema=free_json.accept_map(
                tool.input_schema, kind, f"{field}[{index}].input_schema"
            ),
            output_schema=free_json.accept_map(
                tool.output_schema, kind, f"{field}[{index}].output_schema"
            ),
        )
        for index, tool in enumerate(tools)
    )


def _wire(part: str) -> str:
    return "model_config" if part == "llm_config" else part
