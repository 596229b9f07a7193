"""PostgreSQL stopped for ten minutes under load: what is cached stays readable, nothing is taken.

L1 holds a part of it only, and L2's time to live is shorter than the outage: without being armed
anew it would forget the rest. `rooms_in_outage` plays the rooms that talk on meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.stores import open_own_stores
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.evidence import all_flushed
from tests.support.outages import Crowd
from tests.support.pauses import paused
from tests.support.room_clients import open_session

_CONVERSATIONS = 300
_PACE_S = 2.0
_BOUND_BYTES = 64 << 20
"""What a server may grow by: its caches are full when PostgreSQL goes away."""


def _resident(cluster: Cluster) -> int:
    """Return the resident bytes of the largest server."""
    pages = [
        int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) for server in cluster.servers
    ]
    return max(pages) * 4096


async def conversations_in_outage(
    place: Place, *, away_s: float, conversations: int = _CONVERSATIONS
) -> Result:
    """Stop PostgreSQL for so long under clients that read everything, and write, at a pace."""
    settings = {
        "SWARMSTATE_L1_ENTRIES": str(conversations // 4),
        "SWARMSTATE_L2_TTL": f"{max(30, round(away_s / 3))}s",
    }
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_own_stores(place))
        cluster = await stack.enter_async_context(
            open_cluster(stores.database_url, stores.redis_url, place.folder, settings=settings)
        )
        session = await stack.enter_async_context(open_session(cluster.token))
        crowd = Crowd(session, cluster.urls, conversations)
        await crowd.begin()
        await all_flushed(cluster.database)
        before = peak = _resident(cluster)
        assert stores.postgres_pid is not None
        began = time.monotonic()
        with paused(stores.postgres_pid):
            await crowd.until_on("without_l3")
            known_s = time.monotonic() - began
            await crowd.until_labelled()
            crowd.reads_s.clear()
            while (gone_s := time.monotonic() - began) < away_s:
                if place.stop.is_set():
                    raise Stopped
                place.tell(f"away for {gone_s:.0f} s, {crowd.counts['reads']} reads")
                for seat in range(len(cluster.urls)):
                    await crowd.without_postgres(seat)
                peak = max(peak, _resident(cluster))
                await asyncio.sleep(_PACE_S)
            reads_s = list(crowd.reads_s)
        back = time.monotonic()
        await crowd.until_on("all")
        back_s = time.monotonic() - back
        await crowd.until_written()
        for seat in range(len(cluster.urls)):
            await crowd.read_all(seat, own=True)
        violations = list(crowd.broken)
        if peak - before > _BOUND_BYTES:
            violations.append(f"{peak - before} bytes more, bounded by {_BOUND_BYTES}")
    return Result(
        counts={
            "conversations_in_outage": conversations,
            "acked_turns": crowd.counts["acked_turns"],
            "reads_in_outage": len(reads_s),
            "refused_read_only": crowd.counts["refused"],
        },
        figures={
            "outage_known_after_s": [known_s],
            "outage_over_after_s": [back_s],
            "outage_read_s": reads_s,
            "outage_growth_bytes": [peak - before],
        },
        violations=violations,
        notes=[
            f"PostgreSQL was stopped for {away_s:.0f} s; a quarter of the conversations fit L1",
        ],
    )


async def _ten_minutes(place: Place) -> Result:
    return await conversations_in_outage(place, away_s=600.0)


ACTS = (Act("conversations-in-outage", "outage", _ten_minutes, about_s=680),)
