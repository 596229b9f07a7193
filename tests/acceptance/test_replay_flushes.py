"""FLUSHALL on Redis while meetings are replayed: Redis is a cache, so nothing may be missing."""

from __future__ import annotations

import asyncio

from tests.support.cluster_processes import QUICK
from tests.support.stage import OpenStage, Tell, assert_kept
from tests.support.troubles import CROWD, histogram


async def test_flushall_loses_doubles_and_reorders_no_turn(stage_of: OpenStage, tell: Tell) -> None:
    async with stage_of(seed=41, words=1200, settings=QUICK) as stage:
        troubles = stage.troubles

        async def trouble() -> None:
            for _ in range(6):
                await troubles.flush_redis()

        await stage.perform(trouble())
        verdict = await stage.verdict()
        tell(f"{verdict}\nin flight at FLUSHALL: {troubles.struck['flushall']}")
        assert_kept(verdict)
        assert len(troubles.struck["flushall"]) == 6
        assert min(troubles.struck["flushall"]) >= CROWD


async def test_flushall_among_kills_loses_doubles_and_reorders_no_turn(
    stage_of: OpenStage, tell: Tell
) -> None:
    async with stage_of(seed=42, words=1200, settings=QUICK) as stage:
        troubles = stage.troubles

        async def trouble() -> None:
            for aimed in (False, True, False):
                await troubles.flush_redis()
                # The second time at about the kill, or while the survivor takes over.
                await asyncio.gather(troubles.kill(aimed=aimed), troubles.flush_redis())

        await stage.perform(trouble())
        verdict = await stage.verdict()
        _, table = histogram(troubles.kills, verdict.log, verdict.ledger)
        tell(f"{verdict}\nin flight at FLUSHALL: {troubles.struck['flushall']}\n{table}")
        assert_kept(verdict)
        assert (len(troubles.kills), len(troubles.struck["flushall"])) == (3, 6)
