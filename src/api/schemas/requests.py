"""Bodies of requests that are no command: OpenAPI describes them, and they decode what comes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from src.swarm.shapes import bounds
from src.swarm.shapes.bounds import Id, Label, Name
from src.swarm.shapes.commands import SavedMessage
from src.swarm.shapes.models import ParticipantKind


class SessionMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who took part; its name defaults to its id."""

    kind: ParticipantKind = "person"
    name: Name | None = None
    role: Label = ""
    user_id: Id | None = None


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session: what was said, who took part, and how long it was in seconds."""

    conversation_id: Id
    messages: Annotated[tuple[SavedMessage, ...], Meta(max_length=bounds.SESSION_MESSAGES)] = ()
    participants: Annotated[dict[Id, SessionMember], Meta(max_length=bounds.PARTICIPANTS)] = {}
    duration: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
