"""Bad networks between servers and stores, over and over, while a crowd writes and reads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.judged import result_of
from tests.prove.stores import open_own_stores
from tests.support.network_faults import ROUNDS, Network, open_network

_WORDS = 2000
_PLANS = (
    ("resets", ("reset-before", "reset-during", "reset-after") * 30),
    ("resets-of-flushes", ("reset-flush-before", "reset-flush-after") * 15),
    ("subscriptions", ("subscriptions-cut", "subscriptions-deaf") * 5),
    ("redis", ("redis-half-open", "redis-cut") * 5),
    ("postgres", ("postgres-half-open", "postgres-cut", "postgres-slow", "far-stores") * 4),
)


async def play(place: Place, *, rounds: Sequence[str], seed: int, words: int = _WORDS) -> Result:
    """Make these rounds in an order of the seed's choice, and judge."""
    place.tell("servers begin")
    drawn = random.Random(seed).sample(rounds, len(rounds))
    async with (
        open_own_stores(place) as stores,
        open_network(
            stores.database_url, stores.redis_url, place.folder, seed=seed, words=words
        ) as network,
    ):
        await network.stage.perform(_trouble(place, network, drawn))
        place.tell(f"{network.stage.replay.acked:,} turns are held against the log and all places")
        return result_of(network.stage, await network.stage.verdict(), seed)


async def _trouble(place: Place, network: Network, rounds: Sequence[str]) -> None:
    for number, name in enumerate(rounds, start=1):
        if place.stop.is_set():
            raise Stopped
        acked = network.stage.replay.acked
        place.tell(f"{acked:,} turns, round {number} of {len(rounds)}: {name}")
        await ROUNDS[name](network)


ACTS = tuple(
    Act(
        f"network-{name}",
        "network",
        partial(play, rounds=rounds, seed=9100 + place),
        about_s=5.0 * len(rounds),
    )
    for place, (name, rounds) in enumerate(_PLANS)
)
