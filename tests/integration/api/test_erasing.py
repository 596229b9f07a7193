"""Erasing over HTTP: nothing of what was said is anywhere, and the id stays taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from src.api.auth.principals import Role
from src.state.tiers.migrations import migrate
from tests.integration.api.begun import BEGIN, ROOM, begin
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually
from tests.support.embedding import query
from tests.support.services import in_thread

SECRET_WORD = "marzipan"
ERASE = {"erase": "true"}


@pytest.fixture
async def pair(
    database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    state = {"blobs_url": tmp_path.as_uri()}
    async with (
        running_server(database_url, redis_url, state=state) as one,
        running_server(database_url, redis_url, state=state) as two,
    ):
        yield one, two


async def talk(server: RunningServer) -> None:
    """Say a word in everything that a conversation has."""
    async with server.as_("carl") as carl:
        await begin(carl, config={"goal": SECRET_WORD})
        for path, body in (
            ("/messages", {"text": f"I like {SECRET_WORD}"}),
            ("/commands", {"type": "blackboard", "set": [{"id": SECRET_WORD, "value": 1}]}),
        ):
            assert (await carl.post(ROOM + path, json=body)).is_success
        sent = await carl.post(
            "/api/v1/files",
            params={"conversation_id": "c-1"},
            content=SECRET_WORD.encode(),
            headers={"X-File-Name": SECRET_WORD},
        )
        assert sent.is_success


async def rows(url: str) -> dict[str, list[Any]]:
    """Every row of every table that has anything to do with conversations."""
    connection = await asyncpg.connect(url)
    try:
        tables = ("events", "snapshots", "conversation_summaries", "quarantine", "files")
        return {table: list(await connection.fetch(f"SELECT * FROM {table}")) for table in tables}
    finally:
        await connection.close()


async def bodies(redis_url: str) -> str:
    """Everything that Redis holds."""
    async with Redis.from_url(redis_url) as redis:
        held = [await redis.hgetall(key) async for key in redis.scan_iter("ss:*:conversation:*")]
    return repr(held)


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def said(found: object) -> bool:
    return SECRET_WORD in repr(found)


async def test_nothing_of_what_was_said_is_left(
    pair: tuple[RunningServer, RunningServer], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    one, two = pair
    await talk(one)

    async def held_in_redis() -> bool:
        return said(await bodies(redis_url))

    await eventually(held_in_redis, what="the owner's flush")
    async with two.as_("carl") as carl:
        assert said((await carl.get(ROOM)).text)
        erased = await carl.delete(ROOM, params=ERASE)
        again = await carl.delete(ROOM, params=ERASE)
        reads = [await carl.get(ROOM + part) for part in ("", "/messages", "/events", "/files")]
        back = await carl.post("/api/v1/conversations", json=BEGIN)
    async with one.as_("carl") as carl:
        reads += [await carl.get(ROOM), await carl.get(f"{ROOM}/at", params={"seq": 2})]
        back_too = await carl.post("/api/v1/conversations", json=BEGIN)

    assert [erased.status_code, again.status_code] == [204, 204]
    assert [read.status_code for read in reads] == [404] * 6
    assert [back.status_code, back_too.status_code] == [409, 409]
    left = await rows(database_url)
    assert [event["type"] for event in left["events"]] == ["deleted"]
    assert [row["state"] for row in left["files"]] == []
    assert not said(left)
    assert stored(tmp_path) == []

    async def gone_from_redis() -> bool:
        return not said(await bodies(redis_url))

    await eventually(gone_from_redis, what="the owner's last flush")
    assert not said(await rows(database_url))


async def test_another_server_starts_from_the_tombstone(
    pair: tuple[RunningServer, RunningServer], database_url: str, redis_url: str
) -> None:
    await talk(pair[0])
    async with pair[0].as_("carl") as carl:
        await carl.delete(ROOM, params=ERASE)
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM snapshots")
    await connection.close()
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    async with (
        running_server(database_url, redis_url) as fresh,
        fresh.as_("carl") as carl,
    ):
        read = await carl.get(ROOM)
        back = await carl.post("/api/v1/conversations", json=BEGIN)
        again = await carl.delete(ROOM, params=ERASE)
    assert [read.status_code, back.status_code, again.status_code] == [404, 409, 204]


async def test_what_was_deleted_may_be_erased_later_by_who_may_delete(
    pair: tuple[RunningServer, RunningServer], database_url: str
) -> None:
    one, two = pair
    await talk(one)
    async with one.as_("carl") as carl, one.as_("zoe") as zoe:
        refused = [await zoe.delete(ROOM, params=ERASE)]
        assert (await carl.delete(ROOM)).status_code == 204
        refused.append(await zoe.delete(ROOM, params=ERASE))
    assert said((await rows(database_url))["events"])
    async with two.as_("vic", Role.VIEWER) as vic, two.as_("root", Role.ADMIN) as root:
        refused.append(await vic.delete(ROOM, params=ERASE))
        unknown = await root.delete("/api/v1/conversations/never", params=ERASE)
        erased = await root.delete(ROOM, params=ERASE)
    assert [one.status_code for one in refused] == [403, 403, 403]
    assert [unknown.status_code, erased.status_code] == [404, 204]
    assert not said(await rows(database_url))


async def test_upload_that_began_before_the_erasure_leaves_nothing(
    pair: tuple[RunningServer, RunningServer], database_url: str, tmp_path: Path
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield SECRET_WORD.encode()
        began.set()
        await go_on.wait()
        yield SECRET_WORD.encode()

    one, two = pair
    async with one.as_("carl") as carl, two.as_("carl") as elsewhere, asyncio.timeout(30):
        await begin(carl)
        sending = asyncio.create_task(
            elsewhere.post("/api/v1/files", params={"conversation_id": "c-1"}, content=slowly())
        )
        await began.wait()
        erased = await carl.delete(ROOM, params=ERASE)
        go_on.set()
        sent = await sending

    assert (erased.status_code, sent.status_code) == (204, 404)
    assert (await rows(database_url))["files"] == []
    assert stored(tmp_path) == []


@contextmanager
def roles(url: str) -> Iterator[tuple[str, str]]:
    """Make a service's and an eraser's role; give the URLs with them."""
    name = urlsplit(url).path[1:]
    parts, names = urlsplit(url), (f"{name}_service", f"{name}_eraser")
    for role in names:
        query(url, f"CREATE ROLE {role} LOGIN PASSWORD 'p'", "SELECT 1")
    try:
        in_thread(_migrated(url, *names))
        host = parts.netloc.rpartition("@")[2]
        one, two = (parts._replace(netloc=f"{role}:p@{host}").geturl() for role in names)
        yield one, two
    finally:
        for role in names:
            query(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}", "SELECT 1")


async def _migrated(url: str, service: str, eraser: str) -> None:
    await asyncio.to_thread(migrate, url, service_role=service, erase_role=eraser)


@pytest.mark.directly("its server has settings of its own")
async def test_service_can_add_to_the_log_and_only_the_erasing_role_can_remove(
    database_url: str, redis_url: str
) -> None:
    with roles(database_url) as (service_url, eraser_url):
        async with (
            running_server(service_url, redis_url) as server,
            server.as_("carl") as carl,
        ):
            await begin(carl, config={"goal": SECRET_WORD})
            refused = await carl.delete(ROOM, params=ERASE)
        service = await asyncpg.connect(service_url)
        for statement in (
            "DELETE FROM events",
            "UPDATE events_p1 SET type = ''",
            "TRUNCATE events",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
        assert await service.fetchval("SHOW statement_timeout") == "2s"
        await service.close()
        eraser = await asyncpg.connect(eraser_url)
        for statement in ("UPDATE events SET type = ''", "SELECT 1 FROM snapshots"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await eraser.execute(statement)
        await eraser.close()
        state = {"erase_database_url": eraser_url}
        async with (
            running_server(service_url, redis_url, state=state) as server,
            server.as_("carl") as carl,
        ):
            erased = await carl.delete(ROOM, params=ERASE)

    assert (refused.status_code, refused.json()["code"]) == (503, "not_configured")
    assert "SWARMSTATE_ERASE_DATABASE_URL" in refused.json()["detail"]
    assert erased.status_code == 204
    assert not said(await rows(database_url))
