"""Messages as receivers see them: Standard Webhooks 1.0.0 (github.com/standard-webhooks).

A message is told again under the same id until it was received, so its id is made of what it says:
whoever sends it after a crash needs no memory of having sent it.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256

import msgspec

from src.state.models import Change

SECRET_BYTES = 32
_encoder = msgspec.json.Encoder()


class Message(msgspec.Struct, frozen=True, gc=False):
    """What is sent: `body` is the JSON of {type, timestamp, data}."""

    id: str
    type: str
    body: bytes


def new_secret() -> bytes:
    """Make a secret; the specification wants 24 to 64 bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """Write a secret as receivers' libraries read it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def of_change(webhook_id: str, change: Change) -> Message:
    """Say that a config has a new version."""
    known = (change.position, change.kind, change.id, change.version, change.at.isoformat())
    return _message(_id(webhook_id, *known), f"{change.kind}.changed", change.at, change)


def of_reset(webhook_id: str, position: int, newest: int, at: datetime) -> Message:
    """Say that the changes between two positions can no longer be told."""
    data = {"position": newest}
    return _message(_id(webhook_id, "reset", position, newest), "changes.reset", at, data)


def of_test(webhook_id: str, at: datetime) -> Message:
    """Say nothing but that messages arrive."""
    id = _id(webhook_id, "test", secrets.token_hex(16))
    return _message(id, "webhook.test", at, {"webhook_id": webhook_id})


def headers(message: Message, keys: Iterable[bytes], timestamp: int) -> Mapping[str, str]:
    """Return the headers of one try, signed with each key; `timestamp` in seconds since 1970."""
    signed = b"%s.%d.%s" % (message.id.encode(), timestamp, message.body)
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "Content-Type": "application/json",
        "User-Agent": "swarmstate-webhooks",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _message(id: str, type: str, at: datetime, data: object) -> Message:
    return Message(id, type, _encoder.encode({"type": type, "timestamp": at, "data": data}))


def _id(*parts: object) -> str:
    # No full stop in it: one parts the signed content.
    return f"msg_{sha256(' '.join(map(str, parts)).encode()).hexdigest()[:32]}"
