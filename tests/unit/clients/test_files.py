"""Files that break on their way arrive whole, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import web
from swarmstate_client import ChecksumMismatch, Client, NotAnswered, Unavailable

from tests.support.standing_in import (
    Answer,
    Hasty,
    StandIn,
    breaks,
    done,
    refuses,
    says,
    sends,
    standing_in,
)

CONTENT = bytes(range(256)) * 4000
SHA = sha256(CONTENT).hexdigest()


def info(digest: str = SHA) -> dict[str, object]:
    return {
        "id": "f-1",
        "conversation_id": "c-1",
        "name": "plan ä.pdf",
        "type": "application/pdf",
        "bytes": len(CONTENT),
        "sha256": digest,
        "created_by": "ada",
        "created_at": "2026-01-02T03:04:05Z",
    }


def part(end: int, *, etag: str = SHA, ranged: bool = True) -> Answer:
    """Answer the bytes from where they are asked for up to `end`, and break before the last one."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range") if ranged else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        status = 206 if asked else 200
        sent = sends(CONTENT[start:end], status, cut=end < len(CONTENT), ETag=f'"{etag}"')
        return await sent(request)

    return answer


def head(etag: str = SHA) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        headers = {
            "ETag": f'"{etag}"',
            "Content-Type": "application/pdf",
            "Content-Length": str(len(CONTENT)),
            "Content-Disposition": "attachment; filename*=UTF-8''plan%20%C3%A4.pdf",
        }
        return web.Response(headers=headers)

    return answer


def client(server: StandIn, patience: Hasty | None = None) -> Client:
    return Client(server.url, "token-1", patience=patience or Hasty())


async def parts() -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), 100_000):
        yield CONTENT[start : start + 100_000]


async def test_a_path_is_sent_again_after_a_break_and_its_checksum_announced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan ä.pdf"
    path.write_bytes(CONTENT)
    async with standing_in(breaks, says(info(), 201)) as server, client(server) as swarm:
        stored = await swarm.files.upload("c-1", path, type="application/pdf")
    assert stored.sha256 == SHA
    assert [asked.body for asked in server.asked] == [CONTENT, CONTENT]
    first, second = (asked.headers for asked in server.asked)
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert first["X-Checksum-SHA256"] == SHA
    assert first["X-File-Name"] == "plan%20%C3%A4.pdf"
    assert first["Content-Type"] == "application/pdf"
    assert server.asked[0].query == {"conversation_id": "c-1"}


async def test_what_an_iterator_gave_is_sent_once() -> None:
    async with standing_in(says(info(), 201)) as server, client(server) as swarm:
        await swarm.files.upload("c-1", parts())
    assert server.asked[0].body == CONTENT
    for unanswered in (breaks, refuses(503, "overloaded")):
        async with standing_in(unanswered) as server, client(server) as swarm:
            with pytest.raises((NotAnswered, Unavailable)):
                await swarm.files.upload("c-1", parts())
        assert len(server.asked) == 1


async def test_what_was_stored_otherwise_than_sent_is_deleted_again() -> None:
    answers = (says(info("0" * 64), 201), done())
    async with standing_in(*answers) as server, client(server) as swarm:
        with pytest.raises(ChecksumMismatch, match="upload it again"):
            await swarm.files.upload("c-1", parts())
    assert (server.asked[1].method, server.asked[1].path) == ("DELETE", "/api/v1/files/f-1")


async def test_an_upload_that_nobody_takes_ends() -> None:
    ended = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with (
        standing_in(silent, silent) as server,
        client(server, Hasty(attempts=2, silence_s=0.05)) as swarm,
    ):
        with pytest.raises(NotAnswered, match="POST /api/v1/files"):
            await swarm.files.upload("c-1", CONTENT)
        ended.set()


async def test_a_download_goes_on_where_it_broke_and_replaces_the_path_at_its_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan.pdf"
    path.write_text("before")
    answers = (
        head(),
        part(300_000),
        part(700_000),
        part(len(CONTENT)),
    )
    async with standing_in(*answers) as server, client(server) as swarm:
        found = await swarm.files.download("f-1", path)
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["plan.pdf"]
    assert (found.name, found.type, found.bytes) == ("plan ä.pdf", "application/pdf", len(CONTENT))
    # What came just before a break may be lost on the way and is asked for again.
    resumed = [asked.headers for asked in server.asked[2:]]
    assert all(0 < int(one["Range"][6:-1]) <= 700_000 for one in resumed)
    assert [one["If-Range"] for one in resumed] == [f'"{SHA}"'] * 2


@pytest.mark.parametrize(
    "answers",
    [
        (part(300_000), part(len(CONTENT), etag="1" * 64, ranged=False)),
        (part(len(CONTENT), etag="1" * 64),),
    ],
    ids=["another file", "other bytes"],
)
async def test_what_is_not_the_file_leaves_the_path_as_it_was(
    answers: tuple[Answer, ...], tmp_path: Path
) -> None:
    path = tmp_path / "plan.pdf"
    path.write_text("before")
    async with standing_in(head(), *answers) as server, client(server) as swarm:
        with pytest.raises(ChecksumMismatch, match="read it anew"):
            await swarm.files.download("f-1", path)
    assert os.listdir(tmp_path) == ["plan.pdf"]
    assert path.read_text() == "before"
