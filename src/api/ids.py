"""Ids that the server makes: UUID version 7, so that they sort by time (RFC 9562, section 5.7)."""

from __future__ import annotations

import secrets
import time
import uuid
from hashlib import sha256

from src.api.auth.principals import Principal, Right

_LONGEST_READABLE = 100


def new_id() -> str:
    """Return a new id: 48 bits of milliseconds, then 74 bits of chance."""
    milliseconds = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    high, low = chance >> 62, chance & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low))


def id_of(actor: str, key: str) -> str:
    """Name what a repeated request must find again: the same caller and key give the same id."""
    return f"c-{sha256(f'{actor} {key}'.encode()).hexdigest()[:32]}"


def key_of(caller: Principal, given: str) -> str:
    """Return the key under which a caller's write is logged: nobody else's same key is it.

    Bots and workers, who write in anybody's name, share theirs: what one began before it died
    another may repeat. A key is part of ids, which is why a long one is cut down to its digest.
    """
    if caller.may(Right.WRITE_CONVERSATIONS):
        return given
    name = given if len(given) <= _LONGEST_READABLE else sha256(given.encode()).hexdigest()[:40]
    return f"{name}@{sha256(caller.id.encode()).hexdigest()[:16]}"
