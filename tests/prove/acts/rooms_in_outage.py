"""PostgreSQL stopped for ten minutes under the rooms of two servers: they talk on, in memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from src.swarm.settings import SwarmSettings
from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.stores import open_own_stores
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.pauses import paused
from tests.support.room_clients import RoomClient, open_session, turns_of

_ROOMS = 30
_PACE_S = 2.0
_LOOK_S = 5.0


class Memory:
    """What the servers hold, by their own count and by the kernel's."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self._cluster, self._session = cluster, session
        self.before = self._resident()
        self.peak = self.counted = self.turns = 0

    def _resident(self) -> int:
        pages = [
            int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
            for server in self._cluster.servers
        ]
        return max(pages) * 4096

    async def look(self) -> None:
        """Take note of the largest server of now."""
        self.peak = max(self.peak, self._resident())
        for url in self._cluster.urls:
            async with self._session.get(f"{url}/metrics") as response:
                values = dict(
                    line.rsplit(" ", 1)
                    for line in (await response.text()).splitlines()
                    if line.startswith("swarmstate_pending_")
                )
            self.counted = max(self.counted, int(float(values["swarmstate_pending_bytes"])))
            self.turns = max(self.turns, int(float(values["swarmstate_pending_turns"])))


async def rooms_in_outage(place: Place, *, away_s: float, rooms: int = _ROOMS) -> Result:
    """Stop PostgreSQL for so long under rooms that talk; the figures are one server's memory."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_own_stores(place))
        cluster = await stack.enter_async_context(
            open_cluster(stores.database_url, stores.redis_url, place.folder)
        )
        session = await stack.enter_async_context(open_session(cluster.token))
        clients = [RoomClient(session, cluster.urls, f"room-{n}") for n in range(rooms)]
        for number, client in enumerate(clients):
            await client.begin(number % 2)
            await stack.enter_async_context(client.following(number % 2))
        await _all_talk(clients, 10.0)
        memory = Memory(cluster, session)
        assert stores.postgres_pid is not None
        with paused(stores.postgres_pid):
            talking = asyncio.create_task(_all_talk(clients, away_s))
            began = time.monotonic()
            while not talking.done():
                if place.stop.is_set():
                    talking.cancel()
                    raise Stopped
                await asyncio.wait([talking], timeout=_LOOK_S)
                await memory.look()
                said = sum(len(client.promised) for client in clients)
                place.tell(f"away for {time.monotonic() - began:.0f} s, {said} turns pending")
            await talking
        back = time.monotonic()
        for client in clients:
            await client.until_logged(0, 1)
        return_s = time.monotonic() - back
        await _all_talk(clients, 5.0)
        violations = await _verdict(cluster, clients)
        bound = SwarmSettings().pending_bytes
        if memory.counted > bound or memory.peak - memory.before > bound:
            violations.append(f"{memory.peak - memory.before} bytes more, bounded by {bound}")
        return Result(
            counts={
                "rooms_in_outage": rooms,
                "acked_turns": sum(len(client.keys) for client in clients),
                "pending_turns_acked": sum(len(client.promised) for client in clients),
                "pending_turns_shown": sum(len(client.pending) for client in clients),
                "turned_away": sum(client.refused for client in clients),
            },
            figures={
                "pending_ack_s": [a.took_s for c in clients for a in c.acked if a.pending],
                "pending_logged_after_s": [return_s],
                "pending_peak_turns": [memory.turns],
                "pending_peak_bytes": [memory.counted],
                "resident_growth_bytes": [memory.peak - memory.before],
            },
            violations=violations,
            notes=[f"PostgreSQL was stopped for {away_s:.0f} s under {rooms} talking rooms"],
        )


async def _all_talk(clients: list[RoomClient], for_s: float) -> None:
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.talk(for_s, _PACE_S, 0, 1))


async def _verdict(cluster: Cluster, clients: list[RoomClient]) -> list[str]:
    async def broken() -> list[str]:
        return [
            one
            for client in clients
            for one in (await turns_of(cluster.database, client.id)).broken(client)
        ]

    async def whole() -> bool:
        return not await broken()

    try:
        # The last replies may still be on their way.
        await eventually(whole, 20)
    except AssertionError:
        return await broken()
    return []


async def _ten_minutes(place: Place) -> Result:
    return await rooms_in_outage(place, away_s=600.0)


ACTS = (Act("rooms-in-outage", "outage", _ten_minutes, about_s=660),)
