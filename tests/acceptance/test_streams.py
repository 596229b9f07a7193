"""An event stream that a kill -9 cut goes on at another server, after the last event seen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from swarmstate_client import Client, Patience

from tests.support.cluster_processes import QUICK, open_cluster

CLOCK = {"kind": "system", "id": "clock"}
PATIENCE = Patience(attempts=60, longest_pause_s=1.0)


async def test_stream_of_a_killed_owner_is_resumed_on_the_other_server(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        asyncio.timeout(60),
        open_cluster(database_url, redis_url, tmp_path, settings=QUICK) as cluster,
        Client(cluster.urls, cluster.token, patience=PATIENCE) as swarm,
        aclosing(swarm.conversations.stream("c-1", after=0)) as told,
    ):
        await swarm.conversations.create("c-1")
        for _ in range(4):
            await swarm.conversations.say("c-1", "tick", author=CLOCK)
        seen = [(await anext(told)).seq for _ in range(3)]
        cluster.servers[0].kill()
        said = await swarm.conversations.say("c-1", "tick", author=CLOCK)
        seen += [(await anext(told)).seq for _ in range(3)]

    assert (said.durability, seen) == ("logged", [1, 2, 3, 4, 5, 6])
