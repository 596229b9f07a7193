"""Servers that died long ago are forgotten, and nothing is forgotten with them."""

from collections.abc import AsyncIterator

import pytest

from src.state.records.departed import Departed
from src.state.tiers.postgres import Line, Pool, open_pool
from src.state.tiers.postgres_ownership import PostgresOwnership, PostgresRegistry
from src.swarm.rules.conversations import CONVERSATIONS
from tests.support.cluster_settings import settings


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


async def server(pool: Pool, id: str, *, dead_days: float | None = None) -> None:
    await pool.execute(
        "INSERT INTO servers (id, url, dead_at) "
        "VALUES ($1, 'http://x', now() - $2::float * interval '1 day')",
        id,
        dead_days,
    )


async def owns(pool: Pool, server_id: str, id: str, *, live: bool = False, saved: int = 3) -> None:
    """Have a conversation of three events, of which `saved` are in its snapshot."""
    await pool.execute(
        "INSERT INTO conversations (id, owner_id, epoch, seq) VALUES ($1, $2, 7, 3)", id, server_id
    )
    await pool.execute(
        "INSERT INTO snapshots (conversation_id, epoch, seq, schema, body) "
        "VALUES ($1, 7, $2, 1, '')",
        id,
        saved,
    )
    await pool.execute(
        "INSERT INTO conversation_summaries (conversation_id, seq, status, goal, created_by, "
        "members, turns, last_text, created_at, updated_at, live, live_seq) "
        "VALUES ($1, $2, 'ready', '', 'ada', '{}', 0, '', now(), now(), $3, $2)",
        id,
        saved,
        live,
    )


async def servers(pool: Pool) -> set[str]:
    return {row[0] for row in await pool.fetch("SELECT id FROM servers")}


async def owners(pool: Pool) -> dict[str, str | None]:
    return dict(await pool.fetch("SELECT id, owner_id FROM conversations"))  # type: ignore[arg-type]  # records are pairs


async def test_server_that_starts_forgets_no_other_one(database_url: str, pool: Pool) -> None:
    await server(pool, "long-dead", dead_days=2)
    await owns(pool, "long-dead", "live", live=True)
    line = Line(settings(database_url))
    try:
        await PostgresRegistry(line, line).register("new", "http://new")
    finally:
        await line.aclose()
    assert await servers(pool) == {"long-dead", "new"}


async def test_server_that_owns_what_cannot_wait_is_remembered_until_that_is_taken(
    pool: Pool,
) -> None:
    await server(pool, "a", dead_days=2)
    await server(pool, "b", dead_days=2)
    await owns(pool, "a", "live", live=True)
    await owns(pool, "b", "dirty", saved=2)
    await owns(pool, "b", "quiet")
    assert await Departed(CONVERSATIONS, pool).forget() == 0
    assert await owners(pool) == {"live": "a", "dirty": "b", "quiet": None}
    ownership = PostgresOwnership(CONVERSATIONS, pool)
    assert list(await ownership.orphans("a", "", 10)) == ["live"]
    await server(pool, "survivor")
    await ownership.acquire("survivor", "live", create=False)
    assert await Departed(CONVERSATIONS, pool).forget() == 1
    assert await servers(pool) == {"b", "survivor"}


async def test_server_whose_conversations_can_all_wait_is_forgotten_and_they_are_free(
    pool: Pool,
) -> None:
    await server(pool, "a", dead_days=2)
    await pool.execute(
        "INSERT INTO conversations (id, owner_id, epoch, seq) "
        "SELECT 'c-' || n, 'a', 7, 0 FROM generate_series(1, 1200) n"
    )
    assert await Departed(CONVERSATIONS, pool).forget() == 1
    assert set((await owners(pool)).values()) == {None}


async def test_server_that_lives_or_died_today_keeps_its_row_and_what_it_owns(pool: Pool) -> None:
    await server(pool, "alive")
    await server(pool, "today", dead_days=0.5)
    await owns(pool, "alive", "one")
    await owns(pool, "today", "two")
    assert await Departed(CONVERSATIONS, pool).forget() == 0
    assert await owners(pool) == {"one": "alive", "two": "today"}
    assert await servers(pool) == {"alive", "today"}
