"""First answers in PostgreSQL: who may claim a key, and how long it is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from src.state.records.first_answers import FirstAnswer, FirstAnswers, KeyInUse, KeyReused
from src.state.settings import StateSettings
from src.state.tiers.postgres import Pool, open_pool

ANSWER = FirstAnswer(201, (("etag", '"1"'),), b'{"id":"ada"}')
PRINT, OTHER = b"print", b"other"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    settings = StateSettings(
        database_url=SecretStr(database_url), redis_url=SecretStr("redis://127.0.0.1/0")
    )
    async with open_pool(settings) as opened:
        yield opened


async def age(pool: Pool, by: timedelta) -> None:
    await pool.execute("UPDATE first_answers SET at = at - $1::interval", by)


async def test_a_key_is_claimed_once_and_then_answered(pool: Pool) -> None:
    kept = FirstAnswers(pool, timedelta(days=1))

    assert await kept.claim("k", PRINT) is None
    with pytest.raises(KeyInUse):
        await kept.claim("k", PRINT)
    await kept.keep("k", PRINT, ANSWER)

    assert await kept.claim("k", PRINT) == ANSWER
    with pytest.raises(KeyReused):
        await kept.claim("k", OTHER)


async def test_a_claim_given_back_is_free_and_an_answer_cannot_be(pool: Pool) -> None:
    kept = FirstAnswers(pool, timedelta(days=1))
    await kept.claim("k", PRINT)
    await kept.release("k", PRINT)

    assert await kept.claim("k", OTHER) is None
    await kept.keep("k", OTHER, ANSWER)
    await kept.release("k", OTHER)
    assert await kept.claim("k", OTHER) == ANSWER


async def test_a_claim_that_its_server_left_is_taken_over_by_the_same_request(pool: Pool) -> None:
    kept = FirstAnswers(pool, timedelta(days=1))
    await kept.claim("k", PRINT)
    await age(pool, timedelta(minutes=2))

    with pytest.raises(KeyReused):
        await kept.claim("k", OTHER)
    assert await kept.claim("k", PRINT) is None
    with pytest.raises(KeyInUse):
        await kept.claim("k", PRINT)


async def test_an_answer_is_forgotten_after_its_time(pool: Pool) -> None:
    kept = FirstAnswers(pool, timedelta(days=1))
    for key in ("old", "older"):
        await kept.claim(key, PRINT)
        await kept.keep(key, PRINT, ANSWER)
    await age(pool, timedelta(hours=25))
    await kept.claim("new", PRINT)

    assert await kept.claim("old", OTHER) is None, "not pruned yet, and free all the same"
    assert await kept.prune() == 1
    assert await pool.fetch("SELECT 1 FROM first_answers WHERE key = 'older'") == []
