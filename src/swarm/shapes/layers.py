"""Layers: the same settings given in several places, the most particular place counting.

A layer is a struct of which a field at its default sets nothing. Maps, kept as raw JSON, are
inherited key by key, everything else as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from src.swarm.shapes import free_json

L = TypeVar("L", bound=msgspec.Struct)
E = TypeVar("E", bound=msgspec.Struct)


def given(layer: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Give the fields that a layer sets, and their values."""
    for name, unset in _defaults(type(layer)):
        value = getattr(layer, name)
        if value != unset:
            yield name, value


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.default) for field in msgspec.structs.fields(kind))


def overlay(*layers: L) -> L:
    """Return one layer that sets what these set, the most general first."""
    changes: dict[str, Any] = {}
    for layer in layers:
        for name, value in given(layer):
            below = changes.get(name)
            if isinstance(value, Raw) and below is not None:
                value = free_json.write({**free_json.read(below), **free_json.read(value)})
            changes[name] = value
    return replace(layers[0], **changes)


def filled(kind: type[E], layer: msgspec.Struct) -> E:
    """Return what holds: the fields that the layer sets, the defaults of `kind` elsewhere."""
    return kind(**dict(given(layer)))
