"""Twilio's media streams: the messages both ways, and how Twilio signs that it is it who calls.

Sources: twilio.com/docs/voice/media-streams/websocket-messages, and for the signature
twilio.com/docs/usage/webhooks/webhooks-security.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_CHARS = 1 << 16
"""Longest message that is looked at; a usual one has 400 characters."""
ENCODING = "audio/x-mulaw"
_WITH_PART = ("start", "media", "dtmf", "mark")

_Sid = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$")]
_Text = Annotated[str, Meta(max_length=200)]


class BadMessage(Exception):
    """A message that is none of Twilio's, or not whole."""


class Format(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How the sound is written."""

    encoding: str
    sample_rate: int
    channels: int


class Began(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What a stream begins with."""

    stream_sid: _Sid
    call_sid: _Sid
    media_format: Format
    custom_parameters: Annotated[dict[_Text, _Text], Meta(max_length=100)] = {}


class Media(msgspec.Struct, frozen=True, gc=False):
    """A piece of sound, mu-law in base64."""

    payload: str
    track: str = "inbound"


class Key(msgspec.Struct, frozen=True, gc=False):
    """A key that the person pressed."""

    digit: Annotated[str, Meta(pattern=r"^[0-9A-D*#]$")]


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A mark that was reached."""

    name: _Text


class Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One message; of its parts it has the one that its event calls for."""

    event: _Text
    sequence_number: _Text = ""
    start: Began | None = None
    media: Media | None = None
    dtmf: Key | None = None
    mark: Mark | None = None


_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode


def read(text: str) -> Message:
    """Return a message. What Twilio adds to its protocol is passed over.

    Raises:
        BadMessage: no JSON, a field of a wrong type, or without what its event calls for.
    """
    try:
        message = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadMessage(str(error)) from error
    if message.event in _WITH_PART and getattr(message, message.event) is None:
        raise BadMessage(f"{message.event} without its part of that name")
    return message


def sound(media: Media) -> bytes:
    """Return the mu-law in a piece of sound.

    Raises:
        BadMessage: it is no base64.
    """
    try:
        return b64decode(media.payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMessage(f"the payload is no base64: {error}") from error


def media(stream_sid: str, codes: bytes) -> str:
    """Return the message that has this mu-law played."""
    payload = b64encode(codes).decode()
    return _message({"event": "media", "streamSid": stream_sid, "media": {"payload": payload}})


def mark(stream_sid: str, name: str) -> str:
    """Return the message that comes back when all that was sent before it was played."""
    return _message({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear(stream_sid: str) -> str:
    """Return the message that has dropped what was sent and not played yet."""
    return _message({"event": "clear", "streamSid": stream_sid})


def _message(parts: dict[str, object]) -> str:
    return _encode(parts).decode()


def signature(secret: str, url: str) -> str:
    """Return how Twilio signs that it opens this address, by its account's auth token."""
    digest = hmac.new(secret.encode(), url.encode(), hashlib.sha1).digest()
    return b64encode(digest).decode()


def is_signed(secret: str, url: str, given: str | None) -> bool:
    """Say whether this is Twilio's signature of the address; it takes as long for each."""
    expected = signature(secret, url).encode()
    return hmac.compare_digest(expected, (given or "").encode("utf-8", "replace"))
