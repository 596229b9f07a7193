"""Values that clients give, checked beyond their types and made canonical."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from src.state.errors import Refused
from src.swarm.shapes import bounds, free_json, options, topics
from src.swarm.shapes.config import MAPS, Config
from src.swarm.shapes.events import Value
from src.swarm.shapes.models import Tool
from src.swarm.shapes.work import Assignment


def accepted_config(config: Config, field: str) -> Config:
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
    model = changes["llm_config"]
    options.accept(free_json.read(model.options), f"{field}.model_config.options")
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


def accepted_values(assignments: tuple[Assignment, ...], field: str) -> tuple[Value, ...]:
    """Return the first items of a blackboard, canonical.

    Raises:
        Refused: a value that can't be stored, or one id twice.
    """
    bounds.unique((assignment.id for assignment in assignments), f"{field}[{{}}].id")
    return tuple(
        Value(given.id, free_json.accept(given.value, f"{field}[{index}].value"))
        for index, given in enumerate(assignments)
    )


def _wire(part: str) -> str:
    return "model_config" if part == "llm_config" else part
