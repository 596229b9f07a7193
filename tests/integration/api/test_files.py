"""Files over HTTP: stored whole or not at all, read in ranges, deleted with what they belong to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.integration.api.uploading import FILES, PLAN, chunks, cut_upload, rows, upload
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually

PLAN_SHA = hashlib.sha256(PLAN).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def given(folder: Path) -> dict[str, Any]:
    state = {"blobs_url": folder.as_uri()}
    return {"state": state, "max_file_bytes": 3 << 20, "file_patience": "1s"}


def stored(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def nothing_is_left(folder: Path, database_url: str) -> bool:
    return not stored(folder) and not await rows(database_url)


async def test_a_file_comes_back_as_it_was_sent(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        sent = await upload(zoe, Content_Type="application/pdf", X_File_Name="pl%C3%A4n.pdf")
        read = await zoe.get(sent.headers["location"])

    file = sent.json()
    assert sent.status_code == 201
    assert (file["name"], file["type"], file["bytes"]) == ("plän.pdf", "application/pdf", 9000)
    assert (file["sha256"], file["created_by"]) == (PLAN_SHA, "zoe")
    assert sent.headers["location"] == f"{FILES}/{file['id']}"
    assert read.content == PLAN
    assert read.headers["content-type"] == "application/pdf"
    assert read.headers["content-length"] == "9000"
    assert read.headers["etag"] == f'"{PLAN_SHA}"'
    assert read.headers["content-disposition"] == (
        "attachment; filename=\"pl_n.pdf\"; filename*=UTF-8''pl%C3%A4n.pdf"
    )
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["content-security-policy"] == "default-src 'none'; sandbox"
    digest = base64.b64encode(bytes.fromhex(PLAN_SHA)).decode()
    assert read.headers["repr-digest"] == f"sha-256=:{digest}:"


async def test_parts_are_read_by_range_and_not_at_all_when_known(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        url = (await upload(zoe)).headers["location"]
        etag = f'"{PLAN_SHA}"'
        part = await zoe.get(url, headers={"Range": "bytes=4-7"})
        moved_on = await zoe.get(url, headers={"Range": "bytes=4-7", "If-Range": '"other"'})
        beyond = await zoe.get(url, headers={"Range": "bytes=9000-"})
        known = await zoe.get(url, headers={"If-None-Match": etag})
        head = await zoe.head(url)

    assert (part.status_code, part.content) == (206, PLAN[4:8])
    assert part.headers["content-range"] == "bytes 4-7/9000"
    assert (moved_on.status_code, len(moved_on.content)) == (200, 9000)
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */9000")
    assert beyond.json()["code"] == "range_not_satisfiable"
    assert (known.status_code, known.content) == (304, b"")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "9000")


async def test_files_of_a_conversation_are_listed_newest_first(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        ids = [(await upload(zoe, X_File_Name=f"{n}.txt")).json()["id"] for n in range(3)]
        first = await zoe.get(f"{ROOM}/files", params={"limit": 2})
        rest = await zoe.get(
            f"{ROOM}/files", params={"limit": 2, "cursor": first.json()["next_cursor"]}
        )

    assert [file["id"] for file in first.json()["files"]] == [ids[2], ids[1]]
    assert [file["name"] for file in rest.json()["files"]] == ["0.txt"]
    assert rest.json()["next_cursor"] is None


async def test_members_read_and_only_uploader_or_creator_delete(server: RunningServer) -> None:
    async with (
        server.as_("carl") as carl,
        server.as_("zoe") as zoe,
        server.as_("yan") as yan,
        server.as_("eve") as eve,
        server.as_("vic", Role.VIEWER) as vic,
        server.as_("sam", Role.SERVICE) as sam,
    ):
        await begin(carl)
        urls = [(await upload(zoe)).headers["location"] for _ in range(3)]
        reads = [(await one.get(urls[0])).status_code for one in (carl, zoe, yan, eve, vic, sam)]
        lists = [
            (await one.get(f"{ROOM}/files")).status_code for one in (carl, zoe, yan, eve, vic, sam)
        ]
        uploads = [(await upload(one)).status_code for one in (yan, eve, vic, sam)]
        refused = [(await one.delete(urls[0])).status_code for one in (yan, eve, vic)]
        deleted = [
            (await one.delete(url)).status_code
            for one, url in zip((carl, zoe, sam), urls, strict=True)
        ]
        gone = [(await zoe.get(url)).status_code for url in urls]

    assert reads == lists == [200, 200, 200, 403, 200, 200]
    assert uploads == [201, 403, 403, 201]
    assert refused == [403, 403, 403]
    assert deleted == [204, 204, 204]
    assert gone == [404, 404, 404]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X_File_Name": "../../etc/passwd"}, 422, "invalid"),
        ({"Content_Disposition": 'attachment; filename="/etc/passwd"'}, 422, "invalid"),
        ({"Content_Type": "application/x-msdownload"}, 415, "unsupported_type"),
        ({"X_Checksum_SHA256": "0" * 64}, 422, "checksum"),
        ({"Content_Digest": "sha-256=:" + "A" * 43 + "=:"}, 422, "checksum"),
        ({"Content_Digest": "md5=:AAAA:"}, 422, "invalid"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    server: RunningServer,
    folder: Path,
    database_url: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        answer = await upload(zoe, **headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await nothing_is_left(folder, database_url)


async def test_right_checksum_is_taken(server: RunningServer) -> None:
    digest = base64.b64encode(bytes.fromhex(PLAN_SHA)).decode()
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        answer = await upload(zoe, Content_Digest=f"sha-256=:{digest}:")
    assert answer.status_code == 201


async def test_too_long_a_file_is_refused_announced_or_not(
    server: RunningServer, folder: Path, database_url: str
) -> None:
    long = bytes(1 << 20)
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        announced = await upload(zoe, long * 4)
        streamed = await upload(zoe, chunks(long, long, long, long))
        longest = await upload(zoe, long * 3)

    assert [announced.status_code, streamed.status_code] == [413, 413]
    assert longest.status_code == 201
    assert len(stored(folder)) == 1
    assert await rows(database_url) == ["ready"]


@pytest.mark.directly("its server has settings of its own")
async def test_conversation_holds_so_many_bytes_and_no_more(
    database_url: str, redis_url: str, folder: Path
) -> None:
    state = {"blobs_url": folder.as_uri(), "file_quota_bytes": 10_000}
    async with (
        running_server(database_url, redis_url, state=state) as server,
        server.as_("zoe") as zoe,
    ):
        await begin(zoe)
        first, second = await upload(zoe), await upload(zoe)
    assert [first.status_code, second.status_code] == [201, 409]
    assert second.json()["code"] == "too_many_bytes"
    assert len(stored(folder)) == 1


@pytest.mark.directly("a server counts its own answers")
async def test_upload_that_is_cut_leaves_nothing(
    alone: RunningServer, folder: Path, database_url: str
) -> None:
    async with alone.as_("zoe") as zoe:
        await begin(zoe)
    files = alone.app.state.traffic.answers
    before = sum(files.values())
    await cut_upload(alone, 3 << 20, bytes(1 << 20))

    await eventually(lambda: sum(files.values()) > before, what="the cut upload ends")
    assert await nothing_is_left(folder, database_url)


@pytest.mark.directly("a server counts its own answers")
async def test_upload_that_stands_still_is_given_up(
    alone: RunningServer, folder: Path, database_url: str
) -> None:
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await never.wait()

    async with alone.as_("zoe") as zoe:
        await begin(zoe)
        uploading = asyncio.create_task(upload(zoe, stuck()))
        try:
            await eventually(
                lambda: alone.app.state.traffic.answers["POST", 408] == 1, what="it is given up"
            )
        finally:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
    assert await nothing_is_left(folder, database_url)


async def test_full_disk_refuses_the_file_and_keeps_nothing(
    server: RunningServer, folder: Path, database_url: str
) -> None:
    """A limit on the length of any file of this process stands for the disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
            refused = await upload(zoe, bytes(2 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        left = stored(folder), await rows(database_url)
        taken = await upload(zoe, bytes(2 << 20))

    assert (refused.status_code, refused.json()["code"]) == (503, "tier_unavailable")
    assert str(folder) not in refused.text
    assert left == ([], [])
    assert taken.status_code == 201


async def test_upload_repeated_with_its_key_is_stored_once(
    server: RunningServer, folder: Path
) -> None:
    async with server.as_("zoe") as zoe, server.as_("yan") as yan:
        await begin(zoe)
        first, again = [await upload(zoe, Idempotency_Key="k-1") for _ in range(2)]
        other = await upload(yan, Idempotency_Key="k-1")

    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert [first.json()["repeated"], again.json()["repeated"]] == [False, True]
    assert len(stored(folder)) == 2


async def test_files_go_with_their_conversation(
    server: RunningServer, folder: Path, database_url: str
) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        url = (await upload(zoe)).headers["location"]
        assert len(stored(folder)) == 1
        assert (await zoe.delete(ROOM)).status_code == 204
        after = [await zoe.get(url), await upload(zoe), await zoe.get(f"{ROOM}/files")]

    assert [one.status_code for one in after] == [404, 404, 404]

    async def gone() -> bool:
        return await nothing_is_left(folder, database_url)

    await eventually(gone, what="bytes and row are gone")


async def test_upload_of_nothing_is_a_file_of_no_bytes(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        sent = await upload(zoe, b"")
        read = await zoe.get(sent.headers["location"])
    assert (sent.status_code, read.status_code, read.content) == (201, 200, b"")


@pytest.mark.directly("its server has settings of its own")
async def test_without_a_place_for_bytes_the_setting_is_named(
    database_url: str, redis_url: str
) -> None:
    async with running_server(database_url, redis_url) as server, server.as_("zoe") as zoe:
        await begin(zoe)
        answers = [await upload(zoe), await zoe.get(f"{ROOM}/files")]
    assert [one.status_code for one in answers] == [503, 503]
    assert {one.json()["code"] for one in answers} == {"not_configured"}
    assert "SWARMSTATE_BLOBS_URL" in answers[0].json()["detail"]
