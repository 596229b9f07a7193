"""Finished recordings wait for a blob store that is away, and become files once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable
from datetime import UTC, datetime, timedelta

import pytest
from obstore.store import MemoryStore

from src.agents.recording import shelf as module
from src.agents.recording.shelf import Finished, Shelf
from src.state.errors import BlobsUnavailable, DurableTierUnavailable
from src.state.records.blobs import Blobs
from src.state.records.files import Recording
from tests.integration.swarm.test_files import service, sql
from tests.support.cluster_settings import eventually

pytestmark = pytest.mark.servers

ABOUT = Recording("lesson", "RM_1", datetime(2026, 1, 2, tzinfo=UTC), 12.5, ("zoe", "scout"))
LONG = timedelta(seconds=30)
SOUND = b"the sound of a room"


def finished(conversation_id: str = "c-1") -> Finished:
    file = io.BytesIO(SOUND)
    return Finished(conversation_id, "ada", "recording.ogg", len(SOUND), file, ABOUT)


class Store(Blobs):
    """A store in memory that is away for so many uploads."""

    def __init__(self, away: int = 0) -> None:
        super().__init__(MemoryStore())
        self.away = away

    async def put(self, key: str, parts: AsyncIterable[bytes]) -> None:
        if self.away:
            self.away -= 1
            raise BlobsUnavailable("the store is away")
        await super().put(key, parts)


class Together(Store):
    """A store that takes so many uploads when all of them are there, and no fewer."""

    def __init__(self, away: int, at_once: int) -> None:
        super().__init__(away)
        self._all = asyncio.Barrier(at_once)

    async def put(self, key: str, parts: AsyncIterable[bytes]) -> None:
        if not self.away:
            await self._all.wait()
        await super().put(key, parts)


def dealt_with(shelf: Shelf) -> dict[str, float]:
    return {name.removeprefix("recordings_"): count for name, count in shelf.counts().items()}


async def test_recording_that_waited_for_its_store_is_one_file_with_all_that_is_known_of_it(
    database_url: str,
) -> None:
    async with service(database_url, Store(away=2)) as files:
        shelf = Shelf(files, LONG, again_s=0.0)
        async with shelf.running():
            shelf.put(finished())
            assert await shelf.left("c-1") == (10 << 30) - len(SOUND)
        [file], _ = await files.list("c-1", None, 10)
        stored = b"".join([part async for part in files.read(file, 0, file.bytes)])
    assert dealt_with(shelf) == {"kept": 1, "lost": 0}
    assert (file.name, file.type, file.created_by) == ("recording.ogg", "audio/ogg", "ada")
    assert (file.recording, stored) == (ABOUT, SOUND)


async def test_recording_whose_storing_was_not_acknowledged_is_not_stored_twice(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url, Store()) as files:
        upload, unanswered = files.upload, iter((True,))

        async def lose_answer(*given: object) -> object:
            stored = await upload(*given)  # type: ignore[arg-type]  # passed on as they are
            if next(unanswered, False):
                raise DurableTierUnavailable("the answer was lost")
            return stored

        monkeypatch.setattr(files, "upload", lose_answer)
        shelf = Shelf(files, LONG, again_s=0.0)
        async with shelf.running():
            shelf.put(finished())
        found, _ = await files.list("c-1", None, 10)
    assert (len(found), dealt_with(shelf)) == (1, {"kept": 1, "lost": 0})


async def test_recording_of_a_conversation_that_was_deleted_goes_and_holds_up_no_other(
    database_url: str,
) -> None:
    gone = (
        "INSERT INTO conversation_summaries (conversation_id, seq, status, goal, created_by, "
        "members, turns, last_text, created_at, updated_at) "
        "VALUES ('c-1', 1, 'deleted', '', 'ada', '{}', 0, '', now(), now())"
    )
    await sql(database_url, gone)
    async with service(database_url, Store()) as files:
        shelf = Shelf(files, LONG, again_s=0.0)
        async with shelf.running():
            shelf.put(finished("c-1"))
            shelf.put(finished("c-2"))
        found = [len((await files.list(id, None, 10))[0]) for id in ("c-1", "c-2")]
    assert (found, dealt_with(shelf)) == ([0, 1], {"kept": 1, "lost": 1})


async def test_what_waits_is_bounded_in_number_and_in_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    store = Store(away=1_000_000)
    async with service(database_url, store) as files:
        shelf = Shelf(files, timedelta(seconds=0.05), again_s=3600.0)
        recordings = [finished() for _ in range(3)]
        async with shelf.running():
            for one in recordings:
                shelf.put(one)
            assert [one.file.closed for one in recordings] == [False, False, True]
            await eventually(lambda: store.away < 1_000_000, what="a try")
        assert all(one.file.closed for one in recordings)
    assert shelf.buffers()["recordings"].left_out == 1
    assert dealt_with(shelf) == {"kept": 0, "lost": 3}


async def test_recordings_of_a_server_that_stops_are_stored_beside_each_other_and_tried_at_once(
    database_url: str,
) -> None:
    store = Together(away=1, at_once=4)
    async with service(database_url, store) as files:
        shelf = Shelf(files, LONG, again_s=3600.0)
        async with shelf.running():
            for _ in range(4):
                shelf.put(finished())
            await eventually(lambda: store.away == 0, what="a try that fails")
        shelf.put(finished())
    assert dealt_with(shelf) == {"kept": 4, "lost": 1}


async def test_recording_that_fails_as_nobody_foresaw_is_lost_alone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url, Store()) as files:
        upload, broken = files.upload, iter((True,))

        async def fail(*given: object) -> object:
            if next(broken, False):
                raise ZeroDivisionError("nobody foresaw it")
            return await upload(*given)  # type: ignore[arg-type]  # passed on as they are

        monkeypatch.setattr(files, "upload", fail)
        shelf = Shelf(files, LONG, again_s=0.0)
        async with shelf.running():
            shelf.put(finished())
            shelf.put(finished())
    assert dealt_with(shelf) == {"kept": 1, "lost": 1}
