"""Turns that nobody had answered when their server went, on real stores: the next one answers."""

from __future__ import annotations

from typing import Any

import pytest

from src.swarm.shapes.commands import ChangeStatus, Create, NewParticipant
from tests.support.cluster_runtimes import SHORT, Member, open_database, open_members
from tests.support.cluster_settings import eventually
from tests.support.rooms import Voice


class Failed(Exception):
    """What ends a server before it can drain."""


async def begin(member: Member) -> None:
    """Have a bot that thinks for ever owe an answer, and all of it flushed."""
    bot = b'{"name": "Scout", "providers": {"llm": "test/voice"}}'
    await member.service.configs.create("bot", "scout", bot, "ada")
    people = (NewParticipant("ada", "person", "Ada"), NewParticipant("scout", "bot", "Scout"))
    new = Create("c", participants=people)
    await member.service.submit_here("c", new, key="create", actor="ada", create=True)
    await member.service.submit_here("c", ChangeStatus("start"), key="start", actor="ada")
    await member.say("c", "hello")


def holding() -> Voice:
    voice = Voice(says=lambda request: "never")
    voice.hold()
    return voice


@pytest.mark.parametrize("together", [True, False], ids=["a survivor", "the next to start"])
@pytest.mark.parametrize("fails", [True, False], ids=["failed", "stopped"])
async def test_turn_is_answered_by_who_goes_on_though_nobody_uses_the_conversation(
    database_url: str, redis_url: str, together: bool, fails: bool
) -> None:
    stores = database_url, redis_url
    voice = Voice(says=lambda request: f"on {request.turn.text}")
    given: dict[str, Any] = {"providers": {"test/voice": voice}, **SHORT}

    async def first() -> None:
        async with open_members(*stores, 1, providers={"test/voice": holding()}, **SHORT) as [a]:
            await begin(a)
            query = (
                "SELECT s.seq = c.seq FROM conversations c"
                " JOIN snapshots s ON s.conversation_id = c.id"
            )
            await eventually(lambda: database.value(query), what="a flush of everything")
            if fails:
                raise Failed

    async def goes_on(b: Member) -> None:
        await eventually(lambda: b.count("replies") == 1, what="an answer by the next owner")
        assert await database.texts("c") == ["hello", "on hello"]

    async def ended() -> None:
        try:
            await first()
        except* Failed:
            assert fails

    async with open_database(database_url) as database:
        if not together:
            await ended()
        async with open_members(*stores, 1, **given) as [b]:
            if together:
                await ended()
            await goes_on(b)
