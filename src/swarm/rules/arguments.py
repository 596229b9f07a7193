"""What a tool takes: the schema that a model is shown is also the check its arguments must pass."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.providers import ToolCall
from src.swarm.shapes import free_json

_SHOWN = ("type", "properties", "required", "additionalProperties")


class Arguments(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Arguments of a tool."""


A = TypeVar("A", bound=Arguments)


def given(call: ToolCall, kind: type[A]) -> A:
    """Return the arguments of a call.

    Raises:
        Refused: the tool does not take them; names the place.
    """
    try:
        return msgspec.json.decode(call.arguments, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        field = free_json.place(exc, "arguments")
        raise Refused("invalid", f"{call.name}: {exc}", field=field) from exc


def schema(kind: type[Arguments]) -> Raw:
    """Return the JSON schema of these arguments."""
    _, definitions = msgspec.json.schema_components([kind])
    shown = definitions[kind.__name__]
    return free_json.write({name: shown[name] for name in _SHOWN if name in shown})
