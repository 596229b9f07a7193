"""What is left of a session when a room is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What one speaker did in a session."""

    id: str
    kind: str
    name: str
    turns: int
    words: int
    talk_s: float
    interruptions: int
    """Turns of its own that were interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One life of a room, as it was when it was over."""

    id: str
    room_id: str
    began_at: datetime
    ended_at: datetime
    duration_s: float
    turns: int
    words: int
    interruptions: int
    talk_s: float
    speakers: tuple[Talk, ...]
    text: str
    """What it was about."""
    by: str
    """`model`: a language model wrote the text; `extract`: it is the first and last words."""
    models: tuple[str, ...] = ()
    tokens: int | None = None
