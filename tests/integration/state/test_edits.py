"""Configs and revocations stand in one line, and that line ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.buffers import Buffer
from src.state.clock import SystemClock
from src.state.configs import Configs
from src.state.errors import Overloaded, SharedTierUnavailable
from src.state.models import Announcement
from src.state.records.edits import OUTBOX_LOCK, Edits
from src.state.records.people import People
from src.state.tiers.engine import open_engine
from src.state.tiers.memory import Lease
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.service import BOTS
from tests.support.cluster_settings import eventually, settings
from tests.support.embedding import let_wait, query

FAR = 4_000_000_000
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


class Deaf:
    """`ChangePublisher` without Redis."""

    async def publish(self, changes: Sequence[Announcement]) -> None:
        raise SharedTierUnavailable("nobody hears this")


class Server:
    """What edits on one server."""

    def __init__(self, engine: AsyncEngine, patience_s: float) -> None:
        given = settings(submit_timeout=timedelta(seconds=patience_s))
        self.edits = Edits(engine, Deaf(), given)
        self.people = People(engine, self.edits, SystemClock(), Lease(), given)
        self.bots = Configs(BOTS, engine, self.edits, SystemClock())

    async def save(self, id: str) -> None:
        await self.bots.write(id, "ed", lambda _: (BotConfig(id), False))

    async def end(self, session_id: str) -> None:
        await self.people.sessions.end(session_id, FAR)

    @property
    def line(self) -> Buffer:
        """Who waits, and how many were sent away."""
        return self.edits.buffers()["waiting_edits"]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with open_engine(settings(database_url)) as opened:
        yield opened


@asynccontextmanager
async def another_server_edits(database_url: str) -> AsyncIterator[None]:
    """Hold the outbox for the length of the block."""
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await other.execute(f"SELECT pg_advisory_xact_lock({OUTBOX_LOCK})")
            yield
    finally:
        await other.close()


async def test_edits_of_both_sorts_wait_in_one_line_on_one_connection(
    database_url: str,
) -> None:
    let_wait(database_url)
    async with open_engine(settings(database_url, statement_timeout=60)) as engine:
        server = Server(engine, 60)
        async with another_server_edits(database_url):
            edits = [
                asyncio.ensure_future(work(f"n-{number}"))
                for number in range(10)
                for work in (server.save, server.end)
            ]
            await eventually(
                lambda: server.line.size == 19 and query(database_url, WAITING) == 1, 30
            )
            assert engine.pool.checkedout() == 1  # type: ignore[attr-defined]  # the kind of pool that it has
        await asyncio.gather(*edits)
    assert query(database_url, "SELECT count(*) FROM outbox") == 20


async def test_edit_that_other_servers_keep_waiting_was_not_made_and_says_so(
    engine: AsyncEngine, database_url: str
) -> None:
    server = Server(engine, 30)
    async with another_server_edits(database_url):
        with pytest.raises(Overloaded, match="other servers"):
            await server.end("s-1")
        with pytest.raises(Overloaded, match="other servers"):
            await server.save("ada")
    buffer = server.line
    assert (buffer.size, buffer.left_out) == (0, 2)
    assert query(database_url, "SELECT count(*) FROM outbox") == 0
    await server.save("ada")


async def test_nobody_stands_in_line_for_ever(engine: AsyncEngine, database_url: str) -> None:
    server = Server(engine, 0.01)
    async with another_server_edits(database_url):
        first = asyncio.ensure_future(server.save("ada"))
        await eventually(lambda: query(database_url, WAITING) == 1)
        with pytest.raises(Overloaded, match="edits wait for longer"):
            await server.end("s-1")
        with pytest.raises(Overloaded):
            await first
    assert server.line.size == 0


async def test_what_is_revoked_here_is_in_force_before_others_are_told(
    engine: AsyncEngine,
) -> None:
    server = Server(engine, 5)
    await server.end("s-1")
    assert server.people.revocations.revoked("s-1", "somebody", 0.0)
