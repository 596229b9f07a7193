"""Idempotency keys: whose they are."""

from __future__ import annotations

from hashlib import sha256

from src.api.auth.principals import Principal, Right

_LONGEST_READABLE = 100


def key_of(caller: Principal, given: str) -> str:
    """Return the key under which a caller's write is logged: nobody else's same key is it.

    Bots and workers, who write in anybody's name, share theirs: what one began before it died
    another may repeat. A key is part of ids, which is why a long one is cut down to its digest.
    """
    if caller.may(Right.WRITE_CONVERSATIONS):
        return given
    name = given if len(given) <= _LONGEST_READABLE else sha256(given.encode()).hexdigest()[:40]
    return f"{name}@{sha256(caller.id.encode()).hexdigest()[:16]}"
