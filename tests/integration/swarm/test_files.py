"""What crashes leave of files is swept away, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from src.state.clock import SystemClock
from src.state.errors import BlobsUnavailable, NotFound, Overloaded
from src.state.records.blobs import Blobs, open_blobs
from src.state.records.files import Files, OverQuota
from src.state.records.first_answers import KeyReused
from src.state.tiers.engine import open_engine
from src.swarm.errors import UploadTooSlow
from src.swarm.files import FileService, Swept, Upload
from src.swarm.transfers import Transfers
from tests.support.cluster_settings import settings

OLD = "now() - interval '2 days'"
FEW_BYTES = b"some bytes"


async def some_bytes() -> AsyncIterator[bytes]:
    yield FEW_BYTES


def given(id: str, conversation_id: str = "c-1") -> Upload:
    return Upload(id, conversation_id, f"{id}.txt", "text/plain", "zoe")


@asynccontextmanager
async def service(url: str, blobs: Blobs, **changes: Any) -> AsyncIterator[FileService]:
    given = settings(url, **changes)
    async with open_engine(given) as engine:
        downloads = Transfers("downloads", given.downloads)
        yield FileService(Files(engine), blobs, given, SystemClock(), downloads)


async def sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def keys(blobs: Blobs) -> set[str]:
    return {blob.key.removeprefix("files/") async for page in blobs.list("") for blob in page}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(tmp_path.as_uri())


async def test_sweep_leaves_what_is_in_use(database_url: str, blobs: Blobs) -> None:
    async with service(database_url, blobs) as files:
        await files.upload(given("f-1"), some_bytes())
        await sql(database_url, f"UPDATE files SET created_at = {OLD}")
        assert await files.sweep() == Swept(0, 0, 0)
        assert (await files.get("f-1")).name == "f-1.txt"
    assert await keys(blobs) == {"f-1"}


async def test_upload_that_never_ended_is_swept_when_it_is_old(
    database_url: str, blobs: Blobs
) -> None:
    async with service(database_url, blobs) as files:
        for id in ("old", "young"):
            await files.upload(given(id), some_bytes())
        await sql(
            database_url,
            "UPDATE files SET state = 'uploading'",
            f"UPDATE files SET created_at = {OLD} WHERE id = 'old'",
        )
        assert await files.sweep() == Swept(1, 0, 0)
    assert await keys(blobs) == {"young"}


async def test_files_of_a_deleted_conversation_are_swept(database_url: str, blobs: Blobs) -> None:
    async with service(database_url, blobs) as files:
        for id in ("living", "gone"):
            await files.upload(given(id, f"c-{id}"), some_bytes())
        await sql(
            database_url,
            "INSERT INTO conversation_summaries SELECT 'c-' || name, 1, status, '', '', '{}', 0,"
            " '', now(), now() FROM (VALUES ('living', 'ready'), ('gone', 'deleted'))"
            " AS given(name, status)",
        )
        assert await files.sweep() == Swept(1, 0, 0)
        with pytest.raises(NotFound):
            await files.get("gone")
    assert await keys(blobs) == {"living"}


async def test_blob_without_a_row_is_swept_when_it_is_old(
    database_url: str, blobs: Blobs, tmp_path: Path
) -> None:
    async with service(database_url, blobs) as files:
        for id in ("known", "unknown"):
            await files.upload(given(id), some_bytes())
        await sql(database_url, "DELETE FROM files WHERE id = 'unknown'")
        assert await files.sweep() == Swept(0, 0, 0)
        for id in ("known", "unknown"):
            os.utime(tmp_path / "files" / id, (0, 0))
        assert await files.sweep() == Swept(0, 1, 0)
    assert await keys(blobs) == {"known"}


async def test_half_written_file_of_a_dead_server_is_swept(
    database_url: str, blobs: Blobs, tmp_path: Path
) -> None:
    staged = tmp_path / "files" / "f-1#1"
    async with service(database_url, blobs) as files:
        await files.upload(given("f-2"), some_bytes())
        staged.write_bytes(b"half")
        assert await files.sweep() == Swept(0, 0, 0)
        os.utime(staged, (0, 0))
        assert await files.sweep() == Swept(0, 0, 1)
    assert not staged.exists()
    assert await keys(blobs) == {"f-2"}


async def test_upload_whose_conversation_is_deleted_meanwhile_is_refused(
    database_url: str, blobs: Blobs
) -> None:
    async with service(database_url, blobs) as files:

        async def deleting() -> AsyncIterator[bytes]:
            yield FEW_BYTES
            await files.delete_of("c-1")

        with pytest.raises(NotFound):
            await files.upload(given("f-1"), deleting())
        with pytest.raises(NotFound):
            await files.get("f-1")
    assert await keys(blobs) == set()


async def test_deleted_file_is_unreadable_though_its_bytes_cannot_go_yet(
    database_url: str, tmp_path: Path
) -> None:
    blobs = open_blobs((tmp_path / "blobs").as_uri())
    async with service(database_url, blobs) as files:
        await files.upload(given("f-1"), some_bytes())
        # A folder in the file's place cannot be unlinked: the store refuses.
        path = tmp_path / "blobs" / "files" / "f-1"
        path.rename(tmp_path / "kept")
        path.mkdir()
        await files.delete("f-1")
        with pytest.raises(NotFound):
            await files.get("f-1")
        path.rmdir()
        (tmp_path / "kept").rename(path)
        assert await files.sweep() == Swept(1, 0, 0)
    assert await keys(blobs) == set()


async def test_file_whose_bytes_are_missing_is_an_error_of_the_store(
    database_url: str, blobs: Blobs
) -> None:
    async with service(database_url, blobs) as files:
        file, _ = await files.upload(given("f-1"), some_bytes())
        await blobs.delete("files/f-1")
        with pytest.raises(BlobsUnavailable):
            await anext(files.read(file, 0, file.bytes))


async def test_so_many_uploads_at_once_and_no_more(database_url: str, blobs: Blobs) -> None:
    async with service(database_url, blobs, uploads=1) as files:

        async def meanwhile() -> AsyncIterator[bytes]:
            with pytest.raises(Overloaded):
                await files.upload(given("f-2"), some_bytes())
            yield FEW_BYTES

        await files.upload(given("f-1"), meanwhile())
        assert files.buffers()["uploads"] == (0, 1, 1, "")
        await files.upload(given("f-3"), some_bytes())
    assert await keys(blobs) == {"f-1", "f-3"}


async def test_upload_that_takes_too_long_leaves_nothing(database_url: str, blobs: Blobs) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield FEW_BYTES
        await asyncio.Event().wait()

    async with service(database_url, blobs, upload_timeout=0.1) as files:
        with pytest.raises(UploadTooSlow, match="SWARMSTATE_UPLOAD_TIMEOUT"):
            await files.upload(given("f-1"), endless())
        assert await files.list("c-1", None, 10) == ([], None)
    assert await keys(blobs) == set()


async def test_so_many_downloads_at_once_and_no_more(database_url: str, blobs: Blobs) -> None:
    async with service(database_url, blobs, downloads=1) as files:
        file, _ = await files.upload(given("f-1"), some_bytes())
        first = files.read(file, 0, file.bytes)
        assert await anext(first) == FEW_BYTES
        with pytest.raises(Overloaded):
            await anext(files.read(file, 0, file.bytes))
        await first.aclose()
        assert [part async for part in files.read(file, 0, file.bytes)] == [FEW_BYTES]


def keyed(id: str, **changes: Any) -> Upload:
    return replace(given(id), **{"name": "plan.txt", "key": "k-1", **changes})


@pytest.mark.parametrize("announced", [True, False])
async def test_upload_that_is_repeated_with_its_key_is_stored_once(
    database_url: str, blobs: Blobs, announced: bool
) -> None:
    digest = hashlib.sha256(FEW_BYTES).hexdigest() if announced else None
    async with service(database_url, blobs) as files:
        first = await files.upload(keyed("f-1", sha256=digest), some_bytes())
        again = await files.upload(keyed("f-2", sha256=digest), some_bytes())
    assert (first[1], again) == (False, (first[0], True))
    assert await keys(blobs) == {"f-1"}


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({"conversation_id": "c-2"}, FEW_BYTES),
        ({"name": "another.txt"}, FEW_BYTES),
        ({"type": "text/html"}, FEW_BYTES),
        ({}, b"some bits."),
        ({}, b"some bytes and more"),
        ({"sha256": "0" * 64}, FEW_BYTES),
    ],
)
async def test_key_of_an_upload_is_no_key_of_another(
    database_url: str, blobs: Blobs, changes: dict[str, Any], content: bytes
) -> None:
    async def sent() -> AsyncIterator[bytes]:
        yield content

    async with service(database_url, blobs) as files:
        await files.upload(keyed("f-1"), some_bytes())
        with pytest.raises(KeyReused):
            await files.upload(keyed("f-2", **changes), sent())
        assert [file.id for file in (await files.list("c-1", None, 10))[0]] == ["f-1"]
    assert await keys(blobs) == {"f-1"}


async def test_uploads_at_once_do_not_pass_the_quota_together(
    database_url: str, blobs: Blobs
) -> None:
    begun, all_begun = 0, asyncio.Event()

    async def together() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        if begun == 8:
            all_begun.set()
        # By now each of them has seen that there is room.
        await all_begun.wait()
        yield FEW_BYTES

    async with service(database_url, blobs, file_quota_bytes=35) as files, asyncio.timeout(20):
        uploads = [files.upload(given(f"f-{n}"), together()) for n in range(8)]
        done = await asyncio.gather(*uploads, return_exceptions=True)
        refused = [one for one in done if isinstance(one, BaseException)]
        kept = {one[0].id for one in done if not isinstance(one, BaseException)}
        listed = {file.id for file in (await files.list("c-1", None, 10))[0]}
    assert [(type(one), str(one)[:12]) for one in refused] == [(OverQuota, "the files of")] * 5
    assert listed == kept
    assert await keys(blobs) == kept


async def test_upload_to_a_conversation_that_was_deleted_meanwhile_leaves_nothing(
    database_url: str, blobs: Blobs
) -> None:
    await sql(
        database_url,
        "INSERT INTO conversation_summaries VALUES ('c-1', 1, 'deleted', '', '', '{}', 0, '',"
        " now(), now())",
    )
    async with service(database_url, blobs) as files:
        with pytest.raises(NotFound):
            await files.upload(given("f-1"), some_bytes())
        with pytest.raises(NotFound):
            await files.get("f-1")
    assert await keys(blobs) == set()
