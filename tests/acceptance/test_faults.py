"""Bad networks between servers and stores while meetings are replayed and read: nothing that was
acknowledged is lost, doubled or forked, and what is read is as fresh as it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.network_faults import ROUNDS, Network, open_network
from tests.support.stage import Tell, Verdict, assert_kept
from tests.support.troubles import CROWD


async def judged(network: Network, rounds: Sequence[str], tell: Tell) -> Verdict:
    """Make these rounds of trouble, and hold what came of it to every promise."""

    async def trouble() -> None:
        for name in rounds:
            await ROUNDS[name](network)

    await network.stage.perform(trouble())
    verdict = await network.stage.verdict()
    troubles = network.stage.troubles
    tell(
        f"{verdict}\n{dict(troubles.struck)}, all acked again after {dict(troubles.again_s)}\n"
        f"reads without an answer: {dict(network.stage.readers.failed)}"
    )
    assert_kept(verdict)
    assert min(min(struck) for struck in troubles.struck.values()) >= CROWD
    return verdict


@pytest.mark.parametrize(
    "rounds",
    [
        ("reset-before", "reset-during", "reset-after") * 2,
        ("reset-flush-before", "reset-flush-after") * 2,
        ("redis-half-open",),
        ("redis-cut",),
        ("postgres-half-open",),
        ("postgres-cut",),
        ("postgres-slow",),
        ("far-stores",),
    ],
    ids=lambda rounds: " ".join(dict.fromkeys(rounds)),
)
async def test_a_bad_network_loses_doubles_and_forks_nothing(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell, rounds: Sequence[str]
) -> None:
    async with open_network(database_url, redis_url, tmp_path, seed=61, words=200) as network:
        await judged(network, rounds, tell)


@pytest.mark.parametrize("entries", ["1000", "10"], ids=["warm", "cold"])
@pytest.mark.parametrize("rounds", ["subscriptions-cut", "subscriptions-deaf"])
async def test_without_messages_reads_are_fresh_and_answered(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell, rounds: str, entries: str
) -> None:
    """`cold`: L1 holds so few that most reads find nothing there."""
    settings = {"SWARMSTATE_L1_ENTRIES": entries}
    open_ = partial(open_network, database_url, redis_url, tmp_path, seed=62, words=200)
    async with open_(more=settings) as network:
        verdict = await judged(network, [rounds], tell)
        fresh, _, failed = verdict.reads
        # A machine that stalls for longer than the pulls may be late gives honest labels.
        assert failed == 0
        assert fresh >= 30
