"""The verdict on the replays can be bad: what is tampered with in a store is named."""

from __future__ import annotations

import asyncpg
import pytest
from redis.asyncio import Redis

from src.state.tiers.keys import body_key
from tests.support.history import Broken
from tests.support.meetings import FOLDER
from tests.support.stage import OpenStage, Stage

_ANOTHER_SPEAKER = """
UPDATE events SET
    body = convert_to(replace(convert_from(body, 'UTF8'), '"person-1"', '"person-2"'), 'UTF8')
WHERE conversation_id = 'made-up-4' AND seq = (
    SELECT min(seq) FROM events WHERE conversation_id = 'made-up-4' AND type = 'message_added'
    AND convert_from(body, 'UTF8') LIKE '%"person-1"%')
"""


async def _nothing() -> None:
    """No trouble at all."""


async def _tamper(stage: Stage) -> None:
    """Change the snapshot of meeting 1, the copy in Redis of 2, the log of 3 and 4."""
    database: asyncpg.Connection = stage.cluster.database
    statements = (
        "UPDATE snapshots SET body = body || ' ' WHERE conversation_id = 'made-up-1'",
        "DELETE FROM events WHERE conversation_id = 'made-up-3' AND seq = 3",
        _ANOTHER_SPEAKER,
    )
    for statement in statements:
        assert (await database.execute(statement)).endswith(" 1"), statement
    async with Redis.from_url(stage.cluster.redis_url) as redis:
        await redis.hset(body_key("conversation", "made-up-2"), "body", b"{}")


async def test_what_was_tampered_with_is_named_and_nothing_else(
    stage_of: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    async with stage_of(seed=1, words=30) as stage:
        await stage.perform(_nothing())
        good = await stage.verdict()
        assert (good.violations, good.miscounted, good.disagreements) == ([], [], [])

        await _tamper(stage)
        bad = await stage.verdict()
        first, second = stage.cluster.urls

    assert {(one.conversation, one.broken) for one in bad.violations} == {
        ("made-up-3", Broken.LOST),
        ("made-up-3", Broken.HOLE),
        ("made-up-4", Broken.ALTERED),
    }
    assert set(bad.miscounted) == {
        "made-up-3: turns per speaker differ from the file",
        "made-up-3: the state's messages are not the last that were posted",
        "made-up-4: turns per speaker differ from the file",
    }
    told = {one for one in bad.disagreements if not one.startswith("made-up-2: L2 at ")}
    assert len(bad.disagreements) - len(told) == 1
    places = ("the snapshot is not", f"{first} does not answer", f"{second} does not answer")
    assert {one for one in told if ": L2 at " not in one} == {
        "made-up-1: the snapshot is not fold(events)",
        *(f"made-up-3: {place} fold(events)" for place in places),
        *(f"made-up-4: {place} fold(events)" for place in places),
    }
