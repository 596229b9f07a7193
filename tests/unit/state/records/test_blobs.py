"""Blobs against a store that is slow, full or not there; and URLs that name none."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from src.state.errors import BlobsUnavailable
from src.state.records.blobs import PART_BYTES, PARTS_AT_ONCE, BadBlobsUrl, Blobs, open_blobs
from tests.support.blob_stores import environment
from tests.support.cluster_settings import eventually

STARTED = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
DONE = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"


class Bucket:
    """As much of S3 as an upload in parts needs; a test says when and how parts are answered."""

    def __init__(self) -> None:
        self.taken = asyncio.Semaphore(0)
        self.status = 200
        self.waiting = 0
        self.aborted = 0
        self.completed = 0

    async def post(self, request: web.Request) -> web.Response:
        if "uploads" in request.query:
            return web.Response(text=STARTED)
        self.completed += 1
        return web.Response(text=DONE)

    async def put(self, request: web.Request) -> web.Response:
        await request.read()
        self.waiting += 1
        await self.taken.acquire()
        self.waiting -= 1
        return web.Response(status=self.status, headers={"ETag": '"e"'})

    async def delete(self, _: web.Request) -> web.Response:
        self.aborted += 1
        return web.Response(status=204)


@asynccontextmanager
async def open_bucket() -> AsyncIterator[tuple[Bucket, Blobs]]:
    bucket = Bucket()
    app = web.Application(client_max_size=2 * PART_BYTES)
    app.router.add_post("/b-1/{key:.*}", bucket.post)
    app.router.add_put("/b-1/{key:.*}", bucket.put)
    app.router.add_delete("/b-1/{key:.*}", bucket.delete)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    where = {
        "AWS_ENDPOINT": f"http://127.0.0.1:{listening.getsockname()[1]}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
    }
    with environment(where):
        blobs = open_blobs("s3://b-1")
    try:
        yield bucket, blobs
    finally:
        await runner.cleanup()


async def test_giver_of_parts_waits_while_the_store_has_enough_of_them() -> None:
    given = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(8):
            given += 1
            yield bytes(PART_BYTES)

    async with open_bucket() as (bucket, blobs):
        putting = asyncio.create_task(blobs.put("k", parts()))
        for answered in range(8):
            under_way = min(PARTS_AT_ONCE, 8 - answered)
            await eventually(lambda n=under_way: bucket.waiting == n, what="parts wait")  # type: ignore[misc]  # bound now
            assert given - answered <= PARTS_AT_ONCE + 2
            bucket.taken.release()
        await putting
    assert (given, bucket.completed, bucket.aborted) == (8, 1, 0)


async def test_upload_to_a_full_store_is_aborted() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield bytes(PART_BYTES)

    async with open_bucket() as (bucket, blobs):
        bucket.status = 403
        bucket.taken = asyncio.Semaphore(8)
        with pytest.raises(BlobsUnavailable) as refused:
            await blobs.put("k", parts())
    assert (bucket.completed, bucket.aborted) == (0, 1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "/folder", "ftp://host/x", "s3://", "az:///x", "file:///dev/null/x"]
)
def test_url_that_names_no_place_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(BadBlobsUrl, match=r"SWARMSTATE_BLOBS_URL.*write file:///folder"):
        open_blobs(url)


async def test_only_old_halves_of_a_folder_are_cleared(tmp_path: Path) -> None:
    blobs = open_blobs((tmp_path / "blobs").as_uri())
    files = {name: tmp_path / "blobs" / name for name in ("whole", "half#1", "new#1", "odd#name")}
    for path in files.values():
        path.write_bytes(b"x")
    for name in ("whole", "half#1", "odd#name"):
        os.utime(files[name], (1, 1))
    assert await blobs.clear_staged(datetime(2000, 1, 1, tzinfo=UTC)) == 1
    assert {path.name for path in files.values() if path.exists()} == {"whole", "new#1", "odd#name"}
