"""What is revoked, as servers that hear, are deaf, or have no database know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.clock import SystemClock
from src.state.errors import DurableTierUnavailable
from src.state.models import Announcement, Version
from src.state.records.edits import Edits
from src.state.records.people import People
from src.state.records.revocations import REVOKED_TOKEN, REVOKED_USER
from src.state.tiers.engine import open_engine
from src.state.tiers.memory import Lease
from tests.support.cluster_settings import eventually, settings
from tests.support.embedding import query

FAR = 4_000_000_000
FOR_EVER = float("inf")


class Told:
    """Keeps what was published, and tells nobody."""

    def __init__(self) -> None:
        self.changes: list[Announcement] = []

    async def publish(self, changes: Sequence[Announcement]) -> None:
        self.changes += changes


class Server:
    """A server's view of people; deaf unless somebody calls `heard`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.told, self.lease, self.away = Told(), Lease(), False
        self.edits = Edits(engine, self.told, settings(), way=self._way)
        self.people = People(
            engine, self.edits, SystemClock(), self.lease, settings(), way=self._way
        )
        self.revocations = self.people.revocations

    @asynccontextmanager
    async def _way(self) -> AsyncIterator[None]:
        if self.away:
            raise DurableTierUnavailable("PostgreSQL is away")
        yield

    async def refuses(self, token_id: str = "none", user_id: str = "none") -> bool:
        await self.revocations.make_certain()
        return self.revocations.revoked(token_id, user_id, 0.0)


@pytest.fixture
async def pair(database_url: str) -> AsyncIterator[tuple[Server, Server]]:
    async with open_engine(settings(database_url)) as engine:
        yield Server(engine), Server(engine)


async def test_what_is_revoked_is_announced_after_its_commit_with_all_that_it_takes(
    pair: tuple[Server, Server], database_url: str
) -> None:
    here, there = pair
    await here.people.sessions.end("s-1", FAR)

    (change,) = here.told.changes
    assert change == Announcement(REVOKED_TOKEN, "s-1", Version(0, FAR))
    assert query(database_url, "SELECT array_agg(id) FROM outbox") == ["s-1"]
    there.away = True
    there.revocations.heard(change)
    assert await there.refuses("s-1")


async def test_a_deaf_server_reads_before_it_answers_and_one_that_hears_does_not(
    pair: tuple[Server, Server],
) -> None:
    here, there = pair
    assert not await there.refuses("s-1")
    there.lease.until = FOR_EVER
    await here.people.sessions.end("s-1", FAR)

    assert not await there.refuses("s-1")

    there.lease.until = float("-inf")
    # What was read a moment ago is as good as what was heard.
    assert there.revocations.certain()
    there.revocations.doubt()
    assert not there.revocations.certain()
    assert await there.refuses("s-1")
    assert there.revocations.certain()


async def test_doubt_is_not_settled_by_a_read_that_began_before_it(
    pair: tuple[Server, Server],
) -> None:
    here, _ = pair
    reading = asyncio.ensure_future(here.revocations.make_certain())
    await asyncio.sleep(0)
    here.revocations.doubt()
    assert not here.revocations.certain()

    await reading

    assert here.revocations.certain()


async def test_without_a_database_memory_has_to_do(pair: tuple[Server, Server]) -> None:
    here, _ = pair
    await here.people.sessions.end("s-1", FAR)
    here.away = True
    here.revocations.doubt()

    assert await here.refuses("s-1")
    assert not await here.refuses("s-2")
    with pytest.raises(DurableTierUnavailable):
        await here.people.sessions.end("s-2", FAR)
    assert not await here.refuses("s-2")


async def test_who_waits_is_told_whichever_of_the_two_is_revoked(
    pair: tuple[Server, Server],
) -> None:
    revocations = pair[0].revocations
    with (
        revocations.watching("s-1", "zoe") as by_token,
        revocations.watching("s-2", "zoe") as by_user,
    ):
        revocations.heard(Announcement(REVOKED_TOKEN, "s-1", Version(0, FAR)))
        assert (by_token.done(), by_user.done()) == (True, False)

        revocations.heard(Announcement(REVOKED_USER, "zoe", Version(0, 7)))
        assert by_user.done()


async def test_expired_rows_are_removed_and_others_stay(
    pair: tuple[Server, Server], database_url: str
) -> None:
    here, _ = pair
    await here.people.sessions.end("old", 1_000)
    await here.people.sessions.end("new", FAR)

    await here.people.purge()

    assert query(database_url, "SELECT array_agg(id) FROM revoked_tokens") == ["new"]


async def test_memory_forgets_what_has_expired_by_itself(pair: tuple[Server, Server]) -> None:
    revocations = pair[0].revocations
    for number in range(3_000):
        revocations.heard(Announcement(REVOKED_TOKEN, f"old-{number}", Version(0, 1_000)))

    assert revocations.buffers()["revoked_tokens"].size < 1_100


async def test_session_that_ends_while_it_is_refreshed_leaves_no_token(
    pair: tuple[Server, Server], database_url: str
) -> None:
    people = pair[0].people
    await people.users.add("u-1", "zoe@example.org", "Zoe", ["member"], None)
    await people.sessions.begin("s-1", "u-1", 1, b"first", timedelta(days=1))
    refresh = await asyncpg.connect(database_url)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    try:
        async with refresh.transaction():
            await refresh.execute("SELECT FROM users WHERE id = 'u-1' FOR SHARE")
            await refresh.execute("UPDATE refresh_tokens SET replaced_at = now()")
            await refresh.execute(
                "INSERT INTO refresh_tokens (hash, session_id, user_id, expires_at) "
                "SELECT 'next', session_id, user_id, expires_at FROM refresh_tokens"
            )
            ending = asyncio.ensure_future(people.sessions.end("s-1", FAR))
            await eventually(lambda: query(database_url, waits) == 1)
            assert not ending.done()
    finally:
        await refresh.close()
    await ending
    assert query(database_url, "SELECT count(*) FROM refresh_tokens") == 0
