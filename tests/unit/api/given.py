"""Callers and conversations of the API's unit tests."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

from src.api.auth.principals import Principal, Role, principal
from src.state.models import Entry, Version
from src.swarm.shapes.models import ConversationState, Participant

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_MOMENTS = (float("nan"), float("inf"), -1, True, 10**400, 2**60)
"""What JSON takes for a number, and no clock shows."""


class Revoked:
    """What is revoked, for a door without stores."""

    def __init__(self) -> None:
        self.sure = True
        self.reads = 0
        self.tokens: set[str] = set()
        self.users: dict[str, int] = {}

    def certain(self) -> bool:
        return self.sure

    def revoked(self, token_id: str, user_id: str, issued_at: float) -> bool:
        return token_id in self.tokens or issued_at <= self.users.get(user_id, -1)

    async def make_certain(self) -> None:
        if not self.sure:
            self.reads += 1

    def watching(self, token_id: str, user_id: str) -> AbstractContextManager[asyncio.Future[None]]:
        return nullcontext(asyncio.get_running_loop().create_future())


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


def entry(seq: int = 7, ahead: Version | None = None) -> Entry[ConversationState]:
    state = conversation(seq)
    return Entry(state.id, state.version, state, ahead)
