"""SIGSTOP of the owner beyond its deadline: it wakes with work in hand and may do none of it."""

from __future__ import annotations

from tests.support.cluster_processes import QUICK
from tests.support.stage import OpenStage, Tell, assert_kept
from tests.support.troubles import CROWD


async def test_pauses_of_the_owner_lose_double_and_reorder_no_turn(
    stage_of: OpenStage, tell: Tell
) -> None:
    async with stage_of(seed=3, words=600, settings=QUICK) as stage:
        troubles = stage.troubles

        async def trouble() -> None:
            for _ in range(2):
                await troubles.pause()

        await stage.perform(trouble())
        verdict = await stage.verdict()
        tell(f"{verdict}\nin flight at SIGSTOP: {troubles.struck['sigstop']}")
        assert_kept(verdict)
        assert len(troubles.struck["sigstop"]) == 2
        assert min(troubles.struck["sigstop"]) >= CROWD
