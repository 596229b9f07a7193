"""The migrations and the tables that the code believes in are the same."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from src.embedded import Servers
from src.state.tiers.migrations import migrate
from src.state.tiers.tables import EVENT_PARTITIONS, metadata
from src.state.tiers.urls import SQLALCHEMY
from tests.support.embedding import query
from tests.support.services import Databases, in_thread

pytestmark = pytest.mark.servers


@pytest.fixture
def empty(servers: Servers, databases: Databases) -> Iterator[str]:
    """A database without a table."""
    url = databases.create()
    query(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "SELECT 1")
    yield url
    databases.drop(url)


def differences(url: str) -> list[Any]:
    """What autogenerate would change, and what it does not look at."""

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": _ours}
        )
        return list(compare_metadata(context, metadata))

    async def ask() -> list[Any]:
        engine = create_async_engine(SQLALCHEMY, async_creator=lambda: asyncpg.connect(url))
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(compare)
        finally:
            await engine.dispose()

    found: list[Any] = in_thread(ask())
    return found


def _ours(_: object, name: str | None, kind: str, *__: object) -> bool:
    # The partitions of `events` are made by its migration and named after it.
    return not (kind == "table" and (name or "").startswith("events_p"))


def config(url: str) -> Config:
    made = Config()
    made.set_main_option("script_location", "alembic")
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def tables(url: str) -> set[str]:
    found = query(
        url, "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'"
    )
    assert found is None or isinstance(found, list)
    return set(found or ())


def test_upgraded_database_has_the_tables_of_the_code(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    assert differences(empty) == []


def test_events_are_partitioned(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    partitions = query(
        empty, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"
    )
    assert partitions == EVENT_PARTITIONS


def test_second_upgrade_changes_nothing(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    query(empty, "INSERT INTO servers (id, url) VALUES ('a', 'http://a')", "SELECT 1")
    in_thread(asyncio.to_thread(migrate, empty))
    assert query(empty, "SELECT count(*) FROM servers") == 1
    assert differences(empty) == []


def test_servers_that_start_together_migrate_once(empty: str) -> None:
    async def together() -> None:
        await asyncio.gather(*(asyncio.to_thread(_migrate_alone, empty) for _ in range(4)))

    in_thread(together())
    assert differences(empty) == []
    assert query(empty, "SELECT count(*) FROM alembic_version") == 1


def _migrate_alone(url: str) -> None:
    """In a process of its own: Alembic keeps its context in module globals."""
    code = "import sys; from src.state.tiers.migrations import migrate; migrate(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_downgrade_to_the_beginning_leaves_nothing(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    in_thread(asyncio.to_thread(command.downgrade, config(empty), "base"))
    assert tables(empty) <= {"alembic_version"}
    in_thread(asyncio.to_thread(migrate, empty))
    assert differences(empty) == []


def test_history_of_migrations_is_one_line(empty: str) -> None:
    assert len(ScriptDirectory.from_config(config(empty)).get_heads()) == 1


def test_service_role_is_limited(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    limits = query(empty, "SELECT rolconfig FROM pg_roles WHERE rolname = current_user")
    assert isinstance(limits, list)
    assert "default_transaction_isolation=read committed" in limits
    assert "statement_timeout=2s" in limits
