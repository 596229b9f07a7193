"""Ids of what a request makes: new ones, or the same again for a repeated request."""

from __future__ import annotations

from hashlib import sha256

from src.state.ids import new_id as new_id


def id_of(actor: str, key: str) -> str:
    """Name what a repeated request must find again: the same caller and key give the same id."""
    return f"c-{sha256(f'{actor} {key}'.encode()).hexdigest()[:32]}"
