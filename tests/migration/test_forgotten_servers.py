"""What earlier releases lost from sight."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic import command

from src.embedded import Servers
from src.state.tiers.migrations import migrate
from tests.migration.test_migrations import config
from tests.support.embedding import query
from tests.support.services import Databases, in_thread

pytestmark = pytest.mark.servers


@pytest.fixture
def before(servers: Servers, databases: Databases) -> Iterator[str]:
    """A database of a release that forgot the dead after a day."""
    url = databases.create()
    query(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "SELECT 1")
    in_thread(asyncio.to_thread(command.upgrade, config(url), "0009"))
    yield url
    databases.drop(url)


def test_servers_that_were_forgotten_with_their_conversations_are_found_again(before: str) -> None:
    """Earlier releases removed the rows of the dead after a day, whatever those still owned."""
    query(
        before,
        "INSERT INTO servers (id, url) VALUES ('alive', 'http://x')",
        "INSERT INTO conversations (id, owner_id, epoch, seq) "
        "VALUES ('a', 'alive', 1, 1), ('b', 'gone', 1, 1), ('c', 'gone', 1, 1), ('d', NULL, 1, 1)",
        "SELECT 1",
    )
    in_thread(asyncio.to_thread(migrate, before))

    async def ask() -> list[tuple[str, bool]]:
        connection = await asyncpg.connect(before)
        try:
            rows = await connection.fetch("SELECT id, dead_at IS NULL FROM servers ORDER BY id")
        finally:
            await connection.close()
        return [(row[0], row[1]) for row in rows]

    assert in_thread(ask()) == [("alive", True), ("gone", False)]
