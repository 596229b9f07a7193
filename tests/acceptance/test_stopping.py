"""SIGTERM under load: who tries twice sees no failure, and nothing waits for a lost beat."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.stage import Tell
from tests.support.talking import Talk, talking

CONVERSATIONS = [f"c-{seat}" for seat in range(24)]


async def assert_all_there(cluster: Cluster, talk: Talk) -> None:
    for id, acked in talk.acked.items():
        rows = await cluster.database.fetch(
            "SELECT seq, epoch FROM events WHERE conversation_id = $1 ORDER BY seq", id
        )
        assert [row["seq"] for row in rows] == [1, *(said.version.seq for said in acked)]
        epochs = [row["epoch"] for row in rows]
        assert epochs == sorted(epochs)


def assert_nobody_was_missed(cluster: Cluster) -> None:
    for server in cluster.servers:
        assert "server.declared_dead" not in server.log.read_text()


async def test_an_owner_told_to_stop_is_missed_by_nobody_who_tries_twice(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    # Beats of the release: what waited for the silence of a server would wait for six seconds.
    async with open_cluster(database_url, redis_url, tmp_path) as cluster:
        first, second = cluster.servers
        async with talking(cluster.urls, cluster.token, CONVERSATIONS, tries=2) as talk:
            await talk.grown(10)
            epochs = await cluster.owned_by(first)
            assert len(epochs) >= 1
            began = time.monotonic()
            await first.stop()
            stopped_s = time.monotonic() - began
            # Before the old server could have been declared dead, and before anybody was told.
            there = await cluster.owned_by(second)
            assert all(there[id] > epoch for id, epoch in epochs.items() if id in there)
            await talk.grown(20)
        tell(f"{talk}; stopped in {stopped_s:.2f} s")
        assert (await cluster.owned_by(second)).keys() == set(CONVERSATIONS)
        await assert_all_there(cluster, talk)
        assert_nobody_was_missed(cluster)
        assert "handover.done" in first.log.read_text()


async def test_servers_replaced_one_after_another_are_missed_by_nobody_who_tries_twice(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with open_cluster(database_url, redis_url, tmp_path, count=3) as cluster:
        async with talking(cluster.urls, cluster.token, CONVERSATIONS, tries=2) as talk:
            for server in cluster.servers:
                await talk.grown(5)
                await server.stop()
                await server.start()
            await talk.grown(5)
        tell(str(talk))
        await assert_all_there(cluster, talk)
        assert_nobody_was_missed(cluster)
