"""The one door for configs from outside: what comes out is canonical."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from src.swarm.errors import InvalidCommand
from src.swarm.shapes import free_json

SCHEMA = 1

Schema = Annotated[int, Meta(ge=1, le=SCHEMA)]

T = TypeVar("T")


class Part(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A part of a config."""


_encoder = msgspec.json.Encoder()


def encode_config(config: msgspec.Struct) -> bytes:
    """Return the config as JSON: for the store, for caches and for clients."""
    return _encoder.encode(config)


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return what these bytes are.

    Raises:
        InvalidCommand: out of bounds or of a wrong type; names the field.
    """
    try:
        config = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise InvalidCommand(str(exc), field=free_json.place(exc)) from exc
    if free_json.has_nul(body):
        raise InvalidCommand("body: it contains the character U+0000; remove it")
    return config
