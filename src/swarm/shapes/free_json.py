"""JSON of any shape inside frozen values: kept as its bytes (`msgspec.Raw`), read where needed.

A dict inside a frozen struct could still be edited by any reader, and the garbage collector would
visit each one. Bytes can't be edited and cost nothing until somebody looks inside. What is kept is
always the canonical encoding in a buffer of its own: a view into a request or a snapshot would keep
the whole of that alive.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeGuard

import msgspec
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.shapes.bounds import VALUE_BYTES

Json = Any  # The values of JSON itself: what a decoder without a type returns.

EMPTY = Raw(b"{}")
NULL = Raw(b"null")


def holds(kind: object) -> msgspec.Meta:
    """Say of a field of raw JSON what it holds; `accept_map` checks it, the schemas show it."""
    return msgspec.Meta(extra={"holds": kind})


class PatchOf(msgspec.Struct, frozen=True):
    """What a merge patch (RFC 7396) of a struct holds: any of its fields, or null."""

    kind: type


Object = Annotated[Raw, holds(dict[str, Any])]
"""A JSON object with fields of any name."""
NESTING = 64
"""Levels of lists and objects. Decoders recurse, and a value that was accepted near the top of the
stack must not be the one that can't be read from a place deeper down."""

ITEMS_OF_OBJECTS = {
    "items": {
        "$ref": "#/components/schemas/Assignment",
        "properties": {"value": {"type": "object"}},
    }
}
"""What a schema says of assignments that merge: only objects have fields."""

_FIELD = re.compile("(?:unknown|required) field `(.*)`$")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# U+0000 as JSON writes it. PostgreSQL's text columns can't hold it, so it is refused at the edge.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read(raw: Raw) -> Json:
    """Return the value; a new one at each call, so that changing it changes nothing here."""
    return _decode(raw)


def write(value: object) -> Raw:
    """Return the bytes of a JSON value."""
    return Raw(_encode(value))


def has_nul(body: bytes) -> bool:
    """Say whether a string in this JSON contains U+0000."""
    return b"\\u0000" in body and _NUL.search(body) is not None


def accept(raw: Raw, field: str, *, max_bytes: int = VALUE_BYTES) -> Raw:
    """Return the canonical bytes of a value that came from outside.

    Raises:
        Refused: not JSON, too long, or a number or character that can't be stored; names `field`.
    """
    if raw == NULL:
        return NULL
    return accept_value(_parsed(raw, Json, field), field, max_bytes=max_bytes)


def accept_value(value: Json, field: str, *, max_bytes: int = VALUE_BYTES) -> Raw:
    """Return the bytes of a value made in this process; refuses like `accept`."""
    try:
        body = _encode(value)
    except (OverflowError, RecursionError, TypeError, ValueError) as exc:
        raise Refused("invalid", f"{field} cannot be written as JSON: {exc}", field=field) from exc
    if len(body) > max_bytes:
        detail = f"{field} is {len(body)} bytes as JSON, at most {max_bytes} fit; store a reference"
        raise Refused("too_large", detail, field=field)
    if has_nul(body):
        raise Refused("invalid", f"{field} contains the character U+0000; remove it", field=field)
    if body.count(b"[") + body.count(b"{") > NESTING and _too_deep(value):
        detail = f"{field} is nested deeper than {NESTING} levels; flatten it"
        raise Refused("too_large", detail, field=field)
    return Raw(body)


def accept_map(raw: Raw, kind: object, field: str, *, max_bytes: int = VALUE_BYTES) -> Raw:
    """Return the canonical bytes of an object whose keys and values must be of `kind`."""
    if raw == EMPTY:
        return EMPTY
    return accept_value(_parsed(raw, kind, field), field, max_bytes=max_bytes)


def merge_patch(target: Json, patch: Json) -> Json:
    """Apply a JSON merge patch (RFC 7396): null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def is_number(value: Json) -> TypeGuard[int | float]:
    """Say whether this is a number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def place(exc: Exception, root: str = "") -> str | None:
    """Return the path that a decoder's complaint is about, `root` before it; None if unknown.

    `Expected `int`, got `str` - at `$.limits.credits`` is about `limits.credits`, and
    `Object contains unknown field `x`` about `x`.
    """
    complaint, _, path = str(exc).partition(" - at `$")
    named = _FIELD.search(complaint)
    steps = (root, path.rstrip("`").removeprefix("."), named.group(1) if named else "")
    return ".".join(filter(None, steps)).replace(".[", "[") or None


def _too_deep(value: Json) -> bool:
    level = [value]
    for _ in range(NESTING):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
    return any(isinstance(whole, dict | list) for whole in level)


def _parsed(raw: Raw, kind: Any, field: str) -> Json:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise Refused("invalid", f"{field}: {exc}", field=place(exc, field)) from exc
