"""Files over HTTP whose bytes are in S3 or Azure: every trip of them, and what it leaves there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src.state.records.blobs import PART_BYTES
from tests.integration.api.begun import ROOM, begin
from tests.integration.api.uploading import cut_upload, rows, upload
from tests.support.api import RunningServer
from tests.support.blob_stores import BlobPlace, environment, in_cloud
from tests.support.cluster_settings import eventually

LONG = bytes(range(256)) * (PART_BYTES // 256) + b"the end"
"""So long that it is sent to the store in more than one part."""


@pytest.fixture(params=["s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobPlace]:
    """A bucket or container, and the environment in which servers find it."""
    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    made = in_cloud(request.param, endpoint, tmp_path)
    with environment(made.address.environment):
        yield made


@pytest.fixture
def given(place: BlobPlace) -> dict[str, Any]:
    return {"state": {"blobs_url": place.address.url}, "max_file_bytes": 4 * PART_BYTES}


async def stored(place: BlobPlace) -> list[int]:
    """Return the length of each blob that is there."""
    return [blob.size async for page in place.blobs.list("") for blob in page]


async def nothing_is_left(place: BlobPlace, database_url: str) -> bool:
    return not (await stored(place) or place.leftovers() or await rows(database_url))


async def test_a_file_of_several_parts_comes_back_whole_and_by_range(
    server: RunningServer, place: BlobPlace
) -> None:
    edge = PART_BYTES - 2
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        sent = await upload(zoe, LONG, X_Checksum_SHA256=hashlib.sha256(LONG).hexdigest())
        url = sent.headers["location"]
        whole = await zoe.get(url)
        part = await zoe.get(url, headers={"Range": f"bytes={edge}-{edge + 3}"})
        last = await zoe.get(url, headers={"Range": "bytes=-7"})
        beyond = await zoe.get(url, headers={"Range": f"bytes={len(LONG)}-"})
        there = await stored(place)

    assert (sent.status_code, sent.json()["bytes"]) == (201, len(LONG))
    assert whole.content == LONG
    assert (part.status_code, part.content) == (206, LONG[edge : edge + 4])
    assert (last.status_code, last.content) == (206, b"the end")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(LONG)}")
    assert there == [len(LONG)]


async def test_another_checksum_than_announced_leaves_nothing(
    server: RunningServer, place: BlobPlace, database_url: str
) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        answer = await upload(zoe, LONG, X_Checksum_SHA256="0" * 64)

    assert (answer.status_code, answer.json()["code"]) == (422, "checksum")
    assert await nothing_is_left(place, database_url)


@pytest.mark.directly("a server counts its own answers")
async def test_an_upload_that_is_cut_leaves_nothing(
    alone: RunningServer, place: BlobPlace, database_url: str
) -> None:
    async with alone.as_("zoe") as zoe:
        await begin(zoe)
    answers = alone.app.state.traffic.answers
    before = sum(answers.values())
    await cut_upload(alone, 3 * PART_BYTES, LONG)

    await eventually(lambda: sum(answers.values()) > before, what="the cut upload ends")
    assert await nothing_is_left(place, database_url)


async def test_bytes_go_with_their_file_and_with_its_conversation(
    server: RunningServer, place: BlobPlace, database_url: str
) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        urls = [(await upload(zoe)).headers["location"] for _ in range(3)]
        assert (await zoe.delete(urls[0])).status_code == 204
        left = await stored(place)
        assert (await zoe.delete(ROOM)).status_code == 204
        gone = [(await zoe.get(url)).status_code for url in urls]

    assert len(left) == 2
    assert gone == [404, 404, 404]

    async def empty() -> bool:
        return await nothing_is_left(place, database_url)

    await eventually(empty, what="bytes and rows are gone")
