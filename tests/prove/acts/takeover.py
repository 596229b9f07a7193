"""Owners that die, and owners that are told to stop, with the beats of the release: who waits how
long for the next owner.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

from tests.prove.act import Act, Place, Result
from tests.prove.stores import open_own_stores
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.talking import Talk, talking

_CONVERSATIONS = [f"c-{number}" for number in range(60)]
_PACE_S = 0.4
"""A writer's pause: the figure is about the servers, so the client's own load stays small."""
_TRIES = 400
_LONGEST_S = 8.0
"""What 99 of 100 takeovers may take."""


async def takeovers(place: Place, *, seed: int, kills: int) -> Result:
    """Kill the busiest of three owners again and again.

    The figure is, for each conversation of the dead server, the time from the kill to the first
    logged ack by another server.
    """
    chance = random.Random(seed)
    waited: list[float] = []
    async with (
        open_own_stores(place) as stores,
        open_cluster(stores.database_url, stores.redis_url, place.folder, count=3) as cluster,
        talking(cluster.urls, cluster.token, _CONVERSATIONS, tries=_TRIES, pace_s=_PACE_S) as talk,
    ):
        await talk.grown(3)
        for number in range(kills):
            # Beats are sent every 2 s: any moment between two of them.
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            waited += await _kill(cluster, talk)
            place.tell(f"{number + 1} of {kills} owners killed, the longest {max(waited):.2f} s")
    late = sum(one > _LONGEST_S for one in waited)
    return Result(
        counts={
            "takeover_kills": kills,
            "takeovers": len(waited),
            "acked_turns": sum(map(len, talk.acked.values())),
        },
        figures={"takeover_s": waited},
        violations=[f"{late} of {len(waited)} takeovers took longer than {_LONGEST_S} s"]
        if late > len(waited) / 100
        else [],
        seed=seed,
    )


async def _kill(cluster: Cluster, talk: Talk) -> list[float]:
    victim = await cluster.busiest()
    assert victim is not None, "somebody owns what is being written"
    epochs = await cluster.owned_by(victim)
    victim.kill()
    killed = time.monotonic()
    await victim.ended()
    await eventually(
        lambda: len(_served_again(talk, epochs)) == len(epochs), 60, what="survivors take over"
    )
    await victim.start()
    await talk.grown(2)
    return [at - killed for at in _served_again(talk, epochs).values()]


def _served_again(talk: Talk, epochs: Mapping[str, int]) -> dict[str, float]:
    """Return per conversation when its first turn under a later epoch was acked."""
    first = {
        id: next((said.at for said in talk.acked[id] if said.version.epoch > epoch), None)
        for id, epoch in epochs.items()
    }
    return {id: at for id, at in first.items() if at is not None}


async def stops(place: Place, *, rounds: int) -> Result:
    """Tell each of three servers to stop and start it again, under load, so many times round.

    Every request is tried twice at the most, which fails the act if it is not enough.
    """
    async with (
        open_own_stores(place) as stores,
        open_cluster(stores.database_url, stores.redis_url, place.folder, count=3) as cluster,
        talking(cluster.urls, cluster.token, _CONVERSATIONS, tries=2, pace_s=0.1) as talk,
    ):
        stopped_s = []
        for number in range(rounds):
            for server in cluster.servers:
                await talk.grown(3)
                began = time.monotonic()
                await server.stop()
                stopped_s.append(time.monotonic() - began)
                await server.start()
            place.tell(f"{number + 1} of {rounds} rounds; {talk}")
        await talk.grown(3)
    declared = sum("server.declared_dead" in server.log.read_text() for server in cluster.servers)
    return Result(
        counts={
            "stops": len(stopped_s),
            "requests_tried_twice_at_most": talk.requests,
            "acked_turns": sum(map(len, talk.acked.values())),
        },
        figures={"stop_s": stopped_s, "longest_request_at_stops_s": [talk.longest_s]},
        violations=[f"{declared} servers were declared dead"] if declared else [],
    )


async def _takeovers_1(place: Place) -> Result:
    return await takeovers(place, seed=1, kills=15)


async def _takeovers_2(place: Place) -> Result:
    return await takeovers(place, seed=2, kills=15)


async def _stops(place: Place) -> Result:
    return await stops(place, rounds=5)


ACTS = (
    Act("takeover-1", "takeover", _takeovers_1, about_s=240, alone=True),
    Act("takeover-2", "takeover", _takeovers_2, about_s=240, alone=True),
    Act("stopping", "takeover", _stops, about_s=120),
)
