"""SIGTERM under load: who tries twice sees no failure, and nothing waits for a lost beat."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.stage import Tell

_WRITERS = 24
_PACE_S = 0.02


class Failed(Exception):
    """Two servers in a row gave no answer that counts."""


class Client:
    """Writes and reads, each at most twice: at one server, and once more at the next."""

    def __init__(self, session: aiohttp.ClientSession, cluster: Cluster) -> None:
        self._session = session
        self._urls = cluster.urls
        self._headers = {"Authorization": f"Bearer {cluster.token}"}
        self.requests = self.retried = 0
        self.longest_s = 0.0

    async def ask(self, at: int, method: str, path: str, key: str, body: Any = None) -> Any:
        """Return the decoded answer.

        Raises:
            Failed: not at the second try either.
        """
        self.requests += 1
        began, tries = time.monotonic(), []
        for attempt in range(2):
            self.retried += attempt
            url = f"{self._urls[(at + attempt) % len(self._urls)]}/api/v1/conversations{path}"
            try:
                async with self._session.request(
                    method,
                    url,
                    headers={**self._headers, "Idempotency-Key": key},
                    data=None if body is None else msgspec.json.encode(body),
                ) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                tries.append(f"{url}: {error!r}")
                continue
            if response.status < 300:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                return msgspec.json.decode(answer)
            tries.append(f"{url}: {response.status} {answer[:200]!r}")
        raise Failed("; ".join(tries))


class Talk:
    """Writers, each in a conversation of its own, who read back what they wrote elsewhere."""

    def __init__(self, client: Client, servers: int) -> None:
        self._client = client
        self._servers = servers
        self._over = asyncio.Event()
        self.acked: dict[str, list[int]] = {f"c-{seat}": [] for seat in range(_WRITERS)}

    async def begin(self) -> None:
        people = [{"id": "ada", "kind": "person", "name": "Ada"}]
        for id in self.acked:
            await self._client.ask(0, "POST", "", f"open-{id}", {"id": id, "participants": people})

    async def grown(self, by: int) -> None:
        """Return when each conversation has so many turns more than now."""
        wanted = {id: len(acked) + by for id, acked in self.acked.items()}
        await eventually(
            lambda: all(len(self.acked[id]) >= count for id, count in wanted.items()),
            20,
            what=f"{by} more turns in each conversation",
        )

    def end(self) -> None:
        self._over.set()

    async def go_on(self, id: str) -> None:
        said = {"author": {"kind": "person", "id": "ada"}, "text": "go on"}
        for number in itertools.count(1):
            if self._over.is_set():
                return
            at = number % self._servers
            answer = await self._client.ask(at, "POST", f"/{id}/messages", f"turn-{number}", said)
            self.acked[id].append(int(answer["version"].partition(".")[2]))
            await self._client.ask(at + 1, "GET", f"/{id}", "")
            await asyncio.sleep(_PACE_S)


@asynccontextmanager
async def talking(cluster: Cluster) -> AsyncIterator[tuple[Client, Talk]]:
    """Talk for the length of the block; every request in it succeeds, or the block fails."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=15),
    ) as session:
        client = Client(session, cluster)
        talk = Talk(client, len(cluster.urls))
        await talk.begin()
        async with asyncio.TaskGroup() as tasks:
            for id in talk.acked:
                tasks.create_task(talk.go_on(id))
            yield client, talk
            talk.end()


async def assert_all_there(cluster: Cluster, talk: Talk) -> None:
    for id, acked in talk.acked.items():
        rows = await cluster.database.fetch(
            "SELECT seq, epoch FROM events WHERE conversation_id = $1 ORDER BY seq", id
        )
        assert [row["seq"] for row in rows] == [1, *acked]
        epochs = [row["epoch"] for row in rows]
        assert epochs == sorted(epochs)


async def test_an_owner_told_to_stop_is_missed_by_nobody_who_tries_twice(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    # Beats of the release: what waited for the silence of a server would wait for six seconds.
    async with open_cluster(database_url, redis_url, tmp_path) as cluster:
        first, second = cluster.servers
        async with talking(cluster) as (client, talk):
            await talk.grown(10)
            assert len(await cluster.owned_by(first)) >= 1
            began = time.monotonic()
            await first.stop()
            stopped_s = time.monotonic() - began
            await talk.grown(20)
            again_s = time.monotonic() - began
        tell(
            f"{client.requests} requests, {client.retried} of them twice, longest "
            f"{client.longest_s:.2f} s; stopped in {stopped_s:.2f} s, 20 turns each {again_s:.2f} s"
        )
        assert len(await cluster.owned_by(second)) == _WRITERS
        await assert_all_there(cluster, talk)
        log = second.log.read_text()
        assert "server.declared_dead" not in log
        assert "handover.done" in first.log.read_text()


async def test_servers_replaced_one_after_another_are_missed_by_nobody_who_tries_twice(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    async with open_cluster(database_url, redis_url, tmp_path, count=3) as cluster:
        async with talking(cluster) as (client, talk):
            for server in cluster.servers:
                await talk.grown(5)
                await server.stop()
                await server.start()
            await talk.grown(5)
        tell(
            f"{client.requests} requests, {client.retried} of them twice, longest "
            f"{client.longest_s:.2f} s"
        )
        await assert_all_there(cluster, talk)
        for server in cluster.servers:
            assert "server.declared_dead" not in server.log.read_text()
