"""A failover under load, and what must be true of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec

from src.state.models import Version
from tests.support.cluster_processes import QUICK, Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.evidence import all_flushed, disagreements, events_of
from tests.support.standby import open_pair
from tests.support.talking import Talk, talking

_CONVERSATIONS = [f"c-{number}" for number in range(20)]
_CUT = _CONVERSATIONS[::2]
"""These go on while the standby receives nothing; the others are silent then."""
_TRIES = 600


class Failover(msgspec.Struct, frozen=True):
    """What was lost, and what was told of it."""

    acked: int
    lost: dict[str, str]
    """Conversation -> the newest version that was acked and is gone."""
    told: dict[str, str]
    """Conversation -> the newest version that a server says is gone."""
    turns: str

    def __str__(self) -> str:
        return f"{self.turns}; {len(self.lost)} conversations were cut short, {len(self.told)} told"


async def perform(redis_url: str, folder: Path) -> Failover:
    """Write, let the standby fall behind, fail over, go on writing; judge.

    Raises:
        AssertionError: something but the tail of a conversation was lost, or was lost silently, or
            a version was given twice, or a server does not show what the surviving log has.
    """
    async with (
        open_pair(folder) as pair,
        open_cluster(pair.url, redis_url, folder, settings=QUICK) as cluster,
    ):
        async with talking(
            cluster.urls, cluster.token, _CONVERSATIONS, tries=_TRIES, pace_s=0.05
        ) as talk:
            await talk.grown(5)
            quiet = [id for id in _CONVERSATIONS if id not in _CUT]
            talk.hush(quiet)
            await _standing_still(talk, quiet)
            await pair.caught_up()
            await pair.cut()
            await talk.grown(5)
            await pair.fail_over()
            before = {id: len(said) for id, said in talk.acked.items()}
            talk.let_speak()
            await talk.grown(5, within_s=60)
        database = await asyncpg.connect(pair.url)
        try:
            return await _judge(cluster, database, redis_url, talk, before)
        finally:
            await database.close()


async def _standing_still(talk: Talk, ids: list[str]) -> None:
    """Return when the turn that each was at is acked."""
    await eventually(lambda: not talk.under_way & set(ids), what="the quiet ones are quiet")


async def _judge(
    cluster: Cluster,
    database: asyncpg.Connection,
    redis_url: str,
    talk: Talk,
    before: dict[str, int],
) -> Failover:
    await all_flushed(database)
    events = await events_of(database)
    places = {(one.aggregate_id, one.event_id): one.version for one in events}
    keys = {(one.aggregate_id, one.version): one.event_id for one in events}
    lost: dict[str, Version] = {}
    for id, acked in talk.acked.items():
        for number, said in enumerate(acked):
            name = f"{said.key}:0"
            if keys.get((id, said.version), name) != name:
                raise AssertionError(f"{id}: {said.version.token} was given twice")
            if (id, name) in places:
                assert places[id, name] == said.version
                whole = id not in lost or said.version.epoch >> 32 > lost[id].epoch >> 32
                assert whole, f"{id} {said.key}: there, though an earlier one of its branch is not"
            else:
                assert number < before[id], f"{id} {said.key}: acked after the failover, and lost"
                lost[id] = said.version
    for id in _CONVERSATIONS:
        versions = [one.version for one in events if one.aggregate_id == id]
        assert [one.seq for one in versions] == list(range(1, len(versions) + 1))
        assert versions == sorted(versions)
        assert versions[-1].epoch >> 32 > versions[0].epoch >> 32
    assert set(lost) <= set(_CUT)
    assert lost, "nothing was lost, so nothing is proved"
    told = await _told(cluster)
    assert told == lost
    differing, _ = await disagreements(database, redis_url, cluster.urls, cluster.token, events)
    assert differing == []
    return Failover(
        sum(map(len, talk.acked.values())),
        {id: version.token for id, version in lost.items()},
        {id: version.token for id, version in told.items()},
        str(talk),
    )


async def _told(cluster: Cluster) -> dict[str, Version]:
    """Return per conversation the newest version that a server says is gone."""
    told: dict[str, Version] = {}
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {cluster.token}"}
    ) as session:
        for url in cluster.urls:
            async with session.get(f"{url}/status") as response:
                status: dict[str, Any] = await response.json()
            for one in status["lost_in_failover"]["latest"]:
                known = Version.parse(one["known"])
                told[one["id"]] = max(known, told.get(one["id"], known))
    return told
