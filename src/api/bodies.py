"""Bodies of requests: bytes from outside become the commands and configs of the swarm room.

A body is a command without its `type`, so there is one description of every field, the command's
own, and one decoder that enforces it. Here only what must be said before that: it is JSON, an
object, and every text in it can be stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from src.state.errors import Refused
from src.swarm.errors import InvalidCommand
from src.swarm.shapes import free_json
from src.swarm.shapes.codec import decode_command
from src.swarm.shapes.commands import Command

T = TypeVar("T")

Body = dict[str, Any]
"""A JSON object, as a decoder without a type returns it."""

_MAX_LEVELS = 100
"""More than any value may have; code below may recurse over a body."""
_WHOLE = re.compile(rb"\d(?:\.0+(?!\d)|[eE])")
"""Finds whole numbers that are written as 1.0 or 1e3, and some that are none."""
_EXACT = 2**53
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_object(body: bytes) -> Body:
    """Return the JSON object in a body.

    Raises:
        Refused: not JSON, no object, nested too deeply, or a text with U+0000 or half of a
            surrogate pair; names the field.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        _check_surrogates(body)
        detail = f"the body is not JSON: {error}" if body else "the body is empty; send JSON"
        raise Refused("invalid", detail, field="body") from error
    if not isinstance(value, dict):
        raise Refused("invalid", "the body is not a JSON object", field="body")
    if body.count(b"{") + body.count(b"[") > _MAX_LEVELS:
        _check_levels(value)
    if free_json.has_nul(body):
        _check_texts(value, "\0", "the character U+0000")
    if _WHOLE.search(body):
        return {name: _whole(one) for name, one in value.items()}
    return value


def command(type: str, body: Body, **defaults: object) -> Command:
    """Return the command of this type with the fields of a body; given ones win over defaults.

    Raises:
        InvalidCommand: names the field.
    """
    if "type" in body:
        raise Refused(
            "invalid", "this route says itself what it does; leave `type` out", field="type"
        )
    return decode_command(msgspec.json.encode({**defaults, **body, "type": type}))


def decoded(kind: type[T], body: Body) -> T:
    """Return the struct that a body describes.

    Raises:
        InvalidCommand: names the field.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(body), type=kind)
    except msgspec.ValidationError as error:
        raise InvalidCommand(str(error), field=free_json.place(error)) from error


def _whole(value: Any) -> Any:
    """Take 1.0 for 1, as JSON Schema does: what a whole number is must not hang on its spelling."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


def _check_levels(value: object) -> None:
    level = 0
    inner: list[Any] = [value]
    while inner:
        level += 1
        if level > _MAX_LEVELS:
            detail = f"the body is nested deeper than {_MAX_LEVELS} levels; flatten it"
            raise Refused("too_large", detail, field="body")
        inner = [
            one
            for outer in inner
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, dict | list)
        ]


def _check_surrogates(body: bytes) -> None:
    """Name the field with half of a surrogate pair, which the strict decoder cannot."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    _check_texts(value, _SURROGATE, "half of a surrogate pair")


def _check_texts(value: object, bad: str | re.Pattern[str], what: str) -> None:
    for place, text in _texts(value, ""):
        if bad in text if isinstance(bad, str) else bad.search(text):
            raise Refused("invalid", f"{place or 'body'} contains {what}; remove it", field=place)


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Walk over all texts, names of fields included, with their places."""
    waiting = [(place, value)]
    while waiting:
        where, one = waiting.pop()
        if isinstance(one, str):
            yield where, one
        elif isinstance(one, dict):
            for name, inner in one.items():
                yield where, name
                waiting.append((f"{where}.{name}" if where else name, inner))
        elif isinstance(one, list):
            waiting.extend((f"{where}[{index}]", inner) for index, inner in enumerate(one))
