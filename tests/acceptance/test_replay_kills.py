"""kill -9 of the owner while meetings are replayed: nothing that was acknowledged is ever lost."""

from __future__ import annotations

from tests.support.cluster_processes import QUICK
from tests.support.stage import OpenStage, Stage, Tell, assert_kept
from tests.support.troubles import CROWD, histogram


async def _kills(stage: Stage, tell: Tell, times: int) -> None:
    """Kill the owner so many times, every second time between commit and ack, and judge."""
    troubles = stage.troubles

    async def trouble() -> None:
        for number in range(times):
            await troubles.kill(aimed=number % 2 == 1)

    await stage.perform(trouble())
    verdict = await stage.verdict()
    unacked, table = histogram(troubles.kills, verdict.log, verdict.ledger)
    tell(f"{verdict}\n{table}")
    assert_kept(verdict)
    assert len(troubles.kills) == times
    assert min(len(kill.in_flight) for kill in troubles.kills) >= CROWD
    aimed = [count for kill, count in zip(troubles.kills, unacked, strict=True) if kill.aimed]
    assert min(aimed) >= 1, "a turn was logged and not acked at each aimed kill"


async def test_ten_kills_of_the_owner_lose_double_and_reorder_no_turn(
    stage_of: OpenStage, tell: Tell
) -> None:
    async with stage_of(seed=2026, words=2000, settings=QUICK) as stage:
        await _kills(stage, tell, 10)


async def test_kills_with_the_beats_of_the_release_lose_double_and_reorder_no_turn(
    stage_of: OpenStage, tell: Tell
) -> None:
    async with stage_of(seed=7, words=1000) as stage:
        await _kills(stage, tell, 2)
