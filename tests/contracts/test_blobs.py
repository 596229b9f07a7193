"""What `Blobs` promises, in memory, in a folder, in S3 and in Azure."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.state.errors import BlobsUnavailable
from src.state.records.blobs import PART_BYTES, Blobs
from tests.support.blob_stores import Address, BlobPlace, InFolder, InMemory, in_cloud

KEY = "files/one"


@pytest.fixture(params=["memory", "folder", "s3", "azure"])
def blob_place(request: pytest.FixtureRequest, tmp_path: Path) -> BlobPlace:
    match request.param:
        case "memory":
            return InMemory(Address("memory://", {}))
        case "folder":
            return InFolder(Address(tmp_path.as_uri(), {}))
        case cloud:
            return in_cloud(cloud, request.getfixturevalue(f"{cloud}_endpoint"), tmp_path)


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


async def whole(blobs: Blobs, key: str, size: int, start: int = 0) -> bytes:
    return b"".join([part async for part in blobs.read(key, start, size)])


async def keys(blobs: Blobs, prefix: str = "") -> set[str]:
    return {blob.key async for page in blobs.list(prefix) for blob in page}


async def test_blob_comes_back_as_it_was_put(blob_place: BlobPlace) -> None:
    await blob_place.blobs.put(KEY, parts(b"one ", b"", b"two"))
    assert await whole(blob_place.blobs, KEY, 7) == b"one two"


async def test_blob_of_no_bytes_is_a_blob(blob_place: BlobPlace) -> None:
    await blob_place.blobs.put(KEY, parts())
    assert await keys(blob_place.blobs) == {KEY}
    assert await whole(blob_place.blobs, KEY, 0) == b""


async def test_blob_of_several_parts_comes_back_in_order(blob_place: BlobPlace) -> None:
    sent = [bytes([number]) * (PART_BYTES // 3) for number in range(8)]
    await blob_place.blobs.put(KEY, parts(*sent))
    read = await whole(blob_place.blobs, KEY, sum(map(len, sent)))
    assert hashlib.sha256(read).digest() == hashlib.sha256(b"".join(sent)).digest()


async def test_range_is_read_alone(blob_place: BlobPlace) -> None:
    await blob_place.blobs.put(KEY, parts(b"0123456789"))
    assert await whole(blob_place.blobs, KEY, 7, start=3) == b"3456"


async def test_put_that_fails_in_the_middle_leaves_nothing(blob_place: BlobPlace) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(PART_BYTES)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        await blob_place.blobs.put(KEY, broken())
    assert await keys(blob_place.blobs) == set()
    assert blob_place.leftovers() == []


async def test_put_that_is_cancelled_leaves_nothing(blob_place: BlobPlace) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(PART_BYTES)
        reached.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(blob_place.blobs.put(KEY, endless()))
    await reached.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await keys(blob_place.blobs) == set()
    assert blob_place.leftovers() == []


async def test_unfinished_put_is_read_by_nobody(blob_place: BlobPlace) -> None:
    more = asyncio.Event()
    reached = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(PART_BYTES)
        reached.set()
        await more.wait()

    putting = asyncio.create_task(blob_place.blobs.put(KEY, slow()))
    await reached.wait()
    assert await keys(blob_place.blobs) == set()
    more.set()
    await putting
    assert await keys(blob_place.blobs) == {KEY}


async def test_missing_blob_is_an_error_that_names_it(blob_place: BlobPlace) -> None:
    with pytest.raises(BlobsUnavailable, match="files/none"):
        await whole(blob_place.blobs, "files/none", 1)


async def test_deleted_blob_is_gone_and_may_be_deleted_again(blob_place: BlobPlace) -> None:
    await blob_place.blobs.put(KEY, parts(b"x"))
    for _ in range(2):
        await blob_place.blobs.delete(KEY)
    assert await keys(blob_place.blobs) == set()


async def test_list_gives_keys_below_the_prefix_with_size_and_time(blob_place: BlobPlace) -> None:
    for key in ("files/a", "files/b", "other/c"):
        await blob_place.blobs.put(key, parts(b"xyz"))
    found = [blob async for page in blob_place.blobs.list("files/") for blob in page]
    assert {blob.key for blob in found} == {"files/a", "files/b"}
    assert {blob.size for blob in found} == {3}
    now = datetime.now(UTC)
    assert all(abs(now - blob.stored_at) < timedelta(hours=1) for blob in found)
