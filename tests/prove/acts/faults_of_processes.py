"""kill -9, SIGSTOP, FLUSHALL and old dumps, by the dozen, while a crowd writes and reads.

Every act has servers and stores of its own. Eighty clients write, each posting its next turn as
soon as the one before is acked; faults are spread evenly over the act's share of turns.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.judged import result_of
from tests.prove.stores import open_own_stores
from tests.support.cluster_processes import QUICK
from tests.support.stage import Stage, open_stage
from tests.support.troubles import Pair, Troubles

TURNS = 43_600
"""Acked in each act at the least; all of them together owe a million."""
_WRITERS = 80
_WORDS = 6000
"""Per meeting: some hundreds of turns, then the writer goes on with another."""
_PAIRS: tuple[Pair, ...] = (("owner", "redis"), ("owner", "postgres"), ("redis", "postgres"))


class Plan(msgspec.Struct, frozen=True, gc=False):
    """How many of which faults an act makes, on how many servers."""

    kind: str
    acts: int
    faults: Mapping[str, int]
    servers: int = 2


PLANS = (
    Plan("owner", 8, {"kill_owner": 35}),
    Plan("redis", 3, {"kill_redis": 32}),
    Plan("postgres", 2, {"kill_postgres": 22}),
    Plan("double", 2, {"double": 22}),
    Plan("sigstop", 2, {"sigstop": 22}),
    Plan("flushall", 1, {"flushall": 40}),
    Plan("old-dump", 1, {"old_dump": 16}),
    Plan(
        "storm",
        4,
        {
            "kill_owner": 8,
            "kill_redis": 4,
            "kill_postgres": 3,
            "double": 3,
            "sigstop": 3,
            "flushall": 4,
            "old_dump": 2,
        },
        servers=3,
    ),
)


def _fault(troubles: Troubles, name: str, number: int) -> Callable[[], Awaitable[None]]:
    """Return the fault of that name; the `number`th one of the act chooses among its variants."""
    faults: dict[str, Callable[[], Awaitable[None]]] = {
        "kill_owner": partial(troubles.kill, aimed=number % 2 == 1),
        "kill_redis": troubles.kill_redis,
        "kill_postgres": troubles.kill_postgres,
        "double": partial(troubles.kill_two, _PAIRS[number % len(_PAIRS)]),
        "sigstop": troubles.pause,
        "flushall": troubles.flush_redis,
        "old_dump": troubles.return_to_old_dump,
    }
    return faults[name]


async def _trouble(
    stage: Stage, faults: Mapping[str, int], turns: int, seed: int, place: Place
) -> None:
    """Make all these faults, in an order of the seed's choice, spread over so many acked turns."""
    names = [name for name, times in faults.items() for _ in range(times)]
    random.Random(seed).shuffle(names)
    for number, name in enumerate(names):
        await _until_acked(stage, turns * number // len(names), place)
        place.tell(f"{stage.replay.acked:,} turns, fault {number + 1} of {len(names)}: {name}")
        await _fault(stage.troubles, name, number)()
    await _until_acked(stage, turns, place)


async def _until_acked(stage: Stage, turns: int, place: Place) -> None:
    while stage.replay.acked < turns:
        if place.stop.is_set():
            raise Stopped
        await asyncio.sleep(0.05)


async def play(
    place: Place, *, faults: Mapping[str, int], seed: int, servers: int, turns: int = TURNS
) -> Result:
    """Open stores and servers, make the faults under load, and judge."""
    place.tell("servers begin")
    async with (
        open_own_stores(place) as stores,
        open_stage(
            stores.database_url,
            stores.redis_url,
            place.folder,
            seed=seed,
            words=_WORDS,
            settings=QUICK,
            stores=stores,
            count=servers,
            company=_WRITERS,
            words_per_s=float("inf"),
        ) as stage,
    ):
        await stage.perform(_trouble(stage, faults, turns, seed, place))
        place.tell(f"{stage.replay.acked:,} turns are held against the log and all places")
        return result_of(stage, await stage.verdict(), seed)


def _acts(plan: Plan, first_seed: int) -> list[Act]:
    return [
        Act(
            f"{plan.kind}-{number + 1}",
            plan.kind,
            partial(play, faults=plan.faults, seed=first_seed + number, servers=plan.servers),
            about_s=240.0,
        )
        for number in range(plan.acts)
    ]


ACTS = tuple(act for index, plan in enumerate(PLANS) for act in _acts(plan, 100 * (index + 1)))
