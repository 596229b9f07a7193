"""Callers and conversations of the API's unit tests."""

from __future__ import annotations

from datetime import UTC, datetime

from src.api.auth.principals import Principal, Role, principal
from src.state.models import Entry, Version
from src.swarm.models import ConversationState, Participant

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def caller(id: str, *roles: Role) -> Principal:
    return principal(id, roles or (Role.MEMBER,), 4e9)


def conversation(seq: int = 7) -> ConversationState:
    """Made by carl; with zoe (by her id), yan (by his user id) and the bot ada."""
    return ConversationState(
        id="c-1",
        version=Version(1, seq),
        created_at=AT,
        updated_at=AT,
        created_by="carl",
        participants=(
            Participant(id="zoe", kind="person", name="Zoe", joined_at=AT),
            Participant(id="p-2", kind="person", name="Yan", joined_at=AT, user_id="yan"),
            Participant(id="ada", kind="bot", name="Ada", joined_at=AT),
        ),
    )


def entry(seq: int = 7, ahead: int = 0) -> Entry[ConversationState]:
    state = conversation(seq)
    return Entry(state.id, state.version, state, ahead)
