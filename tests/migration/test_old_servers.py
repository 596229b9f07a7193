"""Rows that servers of earlier releases write beside this one, or have left."""

from collections.abc import AsyncIterator

import pytest

from src.state.tiers.postgres import Pool, open_pool
from src.state.tiers.postgres_ownership import PostgresOwnership
from src.swarm.rules.conversations import CONVERSATIONS
from tests.support.cluster_settings import settings

pytestmark = pytest.mark.servers

_WITHOUT_LIVE = """
INSERT INTO conversation_summaries (conversation_id, seq, status, goal, created_by, members, turns,
    last_text, created_at, updated_at)
VALUES ($1, $2, $3, '', 'ada', '{}', 0, '', now(), now())
ON CONFLICT (conversation_id) DO UPDATE SET seq = excluded.seq, status = excluded.status
WHERE conversation_summaries.seq < excluded.seq
"""
"""What a release wrote that did not know of `live`."""

_WITH_LIVE = """
INSERT INTO conversation_summaries (conversation_id, seq, status, goal, created_by, members, turns,
    last_text, created_at, updated_at, live, live_seq)
VALUES ($1, $2, 'ready', '', 'ada', '{}', 0, '', now(), now(), $3, $2)
"""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


async def have(pool: Pool, id: str, seq: int) -> None:
    await pool.execute(
        "INSERT INTO conversations (id, owner_id, epoch, seq) VALUES ($1, 'old', 7, $2)", id, seq
    )
    await pool.execute(
        "INSERT INTO snapshots (conversation_id, epoch, seq, schema, body) "
        "VALUES ($1, 7, $2, 1, '')",
        id,
        seq,
    )


async def orphans(pool: Pool) -> list[str]:
    return list(await PostgresOwnership(CONVERSATIONS, pool).orphans("old", "", 10))


async def test_conversation_of_a_server_that_does_not_know_of_live_is_taken_when_it_dies(
    pool: Pool,
) -> None:
    """An approval that waits there shows in none of the columns that it knows."""
    await have(pool, "c", 1)
    await pool.execute(_WITHOUT_LIVE, "c", 1, "ready")
    assert await orphans(pool) == ["c"]


async def test_what_such_a_server_writes_over_a_newer_ones_row_makes_it_unknown(pool: Pool) -> None:
    await have(pool, "c", 2)
    await pool.execute(_WITH_LIVE, "c", 1, False)
    await pool.execute(_WITHOUT_LIVE, "c", 2, "running")
    assert await orphans(pool) == ["c"]


async def test_conversation_that_is_known_to_be_quiet_waits_for_use(pool: Pool) -> None:
    await have(pool, "quiet", 1)
    await have(pool, "live", 1)
    await pool.execute(_WITH_LIVE, "quiet", 1, False)
    await pool.execute(_WITH_LIVE, "live", 1, True)
    assert await orphans(pool) == ["live"]
