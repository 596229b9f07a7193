"""What is left of a session when a room is over: who said how much, and what it was about."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from src.swarm.shapes import bounds
from src.swarm.shapes.bounds import Count, Id, Label, Moment, Name, Note
from src.swarm.shapes.models import AuthorKind

Seconds = Annotated[float, Meta(ge=0, le=1e9)]


class Talk(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What one speaker did in a session."""

    id: Id
    kind: AuthorKind
    name: Name
    turns: Count
    words: Count
    talk_s: Seconds
    """From start to end of its turns, all together."""
    interruptions: Count
    """Turns of its own that were interrupted."""


class SessionSummary(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One life of a room, as it was when it was over."""

    id: Id
    room_id: Id
    began_at: Moment
    """By LiveKit's clock."""
    ended_at: Moment
    duration_s: Seconds
    turns: Count
    words: Count
    interruptions: Count
    talk_s: Seconds
    speakers: Annotated[tuple[Talk, ...], Meta(max_length=bounds.PARTICIPANTS)]
    """Who spoke, the one with the most turns first."""
    text: Note
    """What it was about."""
    by: Literal["model", "extract"]
    """Whether a language model wrote the text, or it is the first and last words."""
    models: Annotated[tuple[Label, ...], Meta(max_length=bounds.PARTICIPANTS)] = ()
    """The language models of the bots that spoke, by their configs at the end."""
    tokens: Count | None = None
    """The sum of `total_tokens` in the metrics of the turns; None: no turn said any."""
