"""The one JSON form of states, events and commands: in the log, in L2, and over HTTP."""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec.structs import replace

from src.state.errors import Undecodable
from src.swarm.errors import InvalidCommand
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import Command
from src.swarm.shapes.events import ConversationEvent
from src.swarm.shapes.models import SCHEMA, ConversationState

_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)

_encoder = msgspec.json.Encoder()
_states = msgspec.json.Decoder(ConversationState)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_events = {
    str(kind.__struct_config__.tag): (kind.SCHEMA, msgspec.json.Decoder(kind))
    for kind in get_args(ConversationEvent)
}


class _Schema(msgspec.Struct, frozen=True, gc=False):
    schema: int


_schemas = msgspec.json.Decoder(_Schema)


def encode_state(state: ConversationState) -> bytes:
    """Return the state as JSON."""
    return _encoder.encode(state)


def decode_state(body: bytes) -> ConversationState:
    """Return the state that `encode_state` wrote; it keeps `body` alive, parts of it being views.

    Raises:
        Undecodable: broken bytes, or a state of a newer release.
    """
    try:
        state = _states.decode(body)
    except _BROKEN as exc:
        raise Undecodable("conversation state", _reason(body, exc)) from exc
    if state.schema > SCHEMA:
        raise Undecodable("conversation state", _newer(state.schema, SCHEMA))
    return state if state.schema == SCHEMA else replace(state, schema=SCHEMA)


def describe(event: ConversationEvent) -> tuple[str, int]:
    """Return the type and the schema number under which the log keeps the event."""
    return str(event.__struct_config__.tag), event.SCHEMA


def encode_event(event: ConversationEvent) -> bytes:
    """Return the event as JSON; its type is in it too."""
    return _encoder.encode(event)


def decode_event(event_type: str, schema: int, body: bytes) -> ConversationEvent:
    """Return the event of this type that `encode_event` wrote.

    Raises:
        Undecodable: broken bytes, or a type or schema of a newer release.
    """
    known = _events.get(event_type)
    if known is None:
        raise Undecodable(f"event {event_type[:64]!r}", "this release knows no such type")
    newest, decoder = known
    if schema > newest:
        raise Undecodable(f"event {event_type}", _newer(schema, newest))
    try:
        event: ConversationEvent = decoder.decode(body)
    except _BROKEN as exc:
        raise Undecodable(f"event {event_type}", str(exc)) from exc
    return event


def encode_command(command: Command) -> bytes:
    """Return the command as JSON, as the owner of a conversation gets it forwarded."""
    return _encoder.encode(command)


def decode_command(body: bytes) -> Command:
    """Return the command in bytes from outside.

    Raises:
        InvalidCommand: no JSON, unknown type or field, wrong type, out of bounds, or a character
            that can't be stored; names the place.
    """
    try:
        command: Command = _commands.decode(body)
    except _BROKEN as exc:
        raise InvalidCommand(str(exc), field=free_json.place(exc)) from exc
    if free_json.has_nul(body):
        raise InvalidCommand("body: it contains the character U+0000; remove it")
    return command


def _reason(body: bytes, exc: Exception) -> str:
    """Prefer to say that a body is newer: what else is wrong with it follows from that."""
    try:
        schema = _schemas.decode(body).schema
    except _BROKEN:
        return str(exc)
    return _newer(schema, SCHEMA) if schema > SCHEMA else str(exc)


def _newer(found: int, known: int) -> str:
    return f"it has schema {found}, this release reads up to {known}; upgrade it"
