"""SIGSTOP of the owner beyond its deadline: it wakes with work in hand and may do none of it."""

from __future__ import annotations

import pytest

from tests.support.cluster_processes import QUICK
from tests.support.stage import OpenStage, Tell, assert_kept
from tests.support.troubles import CROWD


@pytest.mark.prove
async def test_pauses_of_the_owner_lose_double_and_reorder_no_turn(
    stage_of: OpenStage, tell: Tell
) -> None:
    async with stage_of(seed=3, words=2000, settings=QUICK) as stage:
        troubles = stage.troubles

        async def trouble() -> None:
            for _ in range(5):
                await troubles.pause()

        await stage.perform(trouble())
        verdict = await stage.verdict()
        tell(f"{verdict}\nin flight at SIGSTOP: {troubles.pauses}")
        assert_kept(verdict)
        assert len(troubles.pauses) == 5
        assert min(troubles.pauses) >= CROWD
