"""The outbox on the real PostgreSQL: what stays and what goes."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from src.state.records.outbox import Outbox
from src.state.tiers.postgres import Pool, open_pool
from tests.support.cluster_settings import settings

WEEK = timedelta(days=7)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


async def commit(pool: Pool, count: int, *, days_ago: int = 0) -> None:
    await pool.execute(
        "INSERT INTO outbox (kind, id, version, at) "
        "SELECT 'bot', 'ada', n, now() - $2::int * interval '1 day' FROM generate_series(1, $1) n",
        count,
        days_ago,
    )


async def positions(pool: Pool) -> list[int]:
    return [row[0] for row in await pool.fetch("SELECT position FROM outbox ORDER BY position")]


async def test_what_is_older_than_the_time_goes(pool: Pool) -> None:
    await commit(pool, 3, days_ago=8)
    await commit(pool, 2, days_ago=6)
    assert await Outbox(pool).prune(WEEK) == 3
    assert await positions(pool) == [4, 5]


async def test_newest_change_stays_however_old_it_is(pool: Pool) -> None:
    await commit(pool, 6_000, days_ago=8)
    assert await Outbox(pool).prune(WEEK) == 5_999
    assert await positions(pool) == [6_000]
