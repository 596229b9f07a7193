"""The stores die under a crowd of writers, alone, two at once, and come back with an old dump."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.cluster_processes import QUICK
from tests.support.stage import OpenStage, Tell, assert_kept
from tests.support.troubles import CROWD, Pair, Troubles

Make = Callable[[Troubles], Coroutine[Any, Any, None]]

_PAIRS: tuple[Pair, ...] = (("owner", "redis"), ("owner", "postgres"), ("redis", "postgres"))


async def _redis(troubles: Troubles) -> None:
    for _ in range(3):
        await troubles.kill_redis()


async def _postgres(troubles: Troubles) -> None:
    for _ in range(2):
        await troubles.kill_postgres()


async def _two_at_once(troubles: Troubles) -> None:
    for pair in _PAIRS:
        await troubles.kill_two(pair)


async def _old_dump(troubles: Troubles) -> None:
    for _ in range(2):
        await troubles.return_to_old_dump()


@pytest.mark.parametrize(
    ("make", "kind", "times"),
    [
        (_redis, "kill_redis", 3),
        (_postgres, "kill_postgres", 2),
        (_two_at_once, "double", 3),
        (_old_dump, "old_dump", 2),
    ],
    ids=["redis", "postgres", "two-at-once", "old-dump"],
)
async def test_dying_stores_lose_double_and_reorder_no_turn(
    stage_of: OpenStage, tell: Tell, make: Make, kind: str, times: int
) -> None:
    async with stage_of(seed=51, words=600, settings=QUICK) as stage:
        troubles = stage.troubles
        await stage.perform(make(troubles))
        verdict = await stage.verdict()
        tell(f"{verdict}\n{dict(troubles.struck)}, all acked again after {dict(troubles.again_s)}")
        assert_kept(verdict)
        assert len(troubles.struck[kind]) == times
        assert min(troubles.struck[kind]) >= CROWD
