"""An event stream that a kill -9 cut goes on at another server, after the last event seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from tests.support.cluster_processes import QUICK, open_cluster

_ROOM = "/api/v1/conversations/c-1"


async def ids_of(answer: httpx.Response) -> AsyncIterator[int]:
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            yield int(line.removeprefix("id: "))


async def test_stream_of_a_killed_owner_is_resumed_on_the_other_server(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with open_cluster(database_url, redis_url, tmp_path, settings=QUICK) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=cluster.urls[0], headers=headers, timeout=20) as owner,
            httpx.AsyncClient(base_url=cluster.urls[1], headers=headers, timeout=20) as other,
        ):
            begun = await owner.post("/api/v1/conversations", json={"id": "c-1"})
            assert begun.status_code == 201
            turn = {"author": {"kind": "system", "id": "clock"}, "text": "tick"}
            for _ in range(4):
                await owner.post(f"{_ROOM}/messages", json=turn)
            async with owner.stream("GET", f"{_ROOM}/stream", params={"after": 0}) as answer:
                ids = ids_of(answer)
                seen = [await anext(ids) for _ in range(3)]
                cluster.servers[0].kill()
            said = 503
            while said == 503:
                said = (await other.post(f"{_ROOM}/messages", json=turn)).status_code
            resume = {"Last-Event-ID": str(seen[-1])}
            async with other.stream("GET", f"{_ROOM}/stream", headers=resume) as answer:
                ids = ids_of(answer)
                seen += [await anext(ids) for _ in range(3)]

    assert (said, seen) == (201, [1, 2, 3, 4, 5, 6])
