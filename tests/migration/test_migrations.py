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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from src.embedded import Servers
from src.state.tiers import migrations
from src.state.tiers.migrations import HeldUp, migrate
from src.state.tiers.room_tables import metadata
from src.state.tiers.tables import EVENT_PARTITIONS
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
        engine = create_async_engine(
            SQLALCHEMY,
            async_creator=lambda: asyncpg.connect(url),
            # The database ends transactions in which nothing is asked for two seconds.
            isolation_level="AUTOCOMMIT",
        )
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


def revision(url: str) -> object:
    return query(url, "SELECT version_num FROM alembic_version")


def test_migration_that_must_wait_for_a_table_gives_up_and_can_be_repeated(empty: str) -> None:
    """What came before it stays, and whoever holds the table is left alone."""
    in_thread(asyncio.to_thread(command.upgrade, config(empty), "0001"))
    query(empty, "INSERT INTO servers (id, url) VALUES ('a', 'http://a')", "SELECT 1")

    async def held_up() -> None:
        reader = await asyncpg.connect(empty)
        try:
            async with reader.transaction():
                await reader.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                await reader.execute("LOCK TABLE configs IN ACCESS SHARE MODE")
                with pytest.raises(HeldUp, match="ALTER TABLE configs ADD COLUMN grouping"):
                    await asyncio.to_thread(migrate, empty)
                assert await reader.fetchval("SELECT count(*) FROM configs") == 0
        finally:
            await reader.close()

    in_thread(held_up())
    assert revision(empty) == "0003"
    assert "files" in tables(empty)
    in_thread(asyncio.to_thread(migrate, empty))
    assert differences(empty) == []
    assert query(empty, "SELECT count(*) FROM servers") == 1


def test_migration_that_is_killed_in_the_middle_can_be_repeated(empty: str) -> None:
    in_thread(asyncio.to_thread(command.upgrade, config(empty), "0004"))
    query(
        empty,
        "CREATE FUNCTION die() RETURNS event_trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END'",
        # In the middle of 0006: its first table is made, its second is not.
        "CREATE EVENT TRIGGER die ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
        "EXECUTE FUNCTION die()",
        "SELECT 1",
    )
    with pytest.raises(DBAPIError):
        in_thread(asyncio.to_thread(migrate, empty))
    assert revision(empty) == "0005"
    assert "webhooks" not in tables(empty)
    query(empty, "DROP EVENT TRIGGER die", "DROP FUNCTION die()", "SELECT 1")
    in_thread(asyncio.to_thread(migrate, empty))
    assert differences(empty) == []


def test_who_migrates_waits_for_who_does_so_already_and_not_for_ever(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE_S", 0.0)

    async def beside() -> None:
        other = await asyncpg.connect(empty)
        try:
            await other.execute("SELECT pg_advisory_lock($1)", migrations.MIGRATION_LOCK)
            with pytest.raises(HeldUp, match="another process"):
                await asyncio.to_thread(migrate, empty)
            await other.execute("SELECT pg_advisory_unlock($1)", migrations.MIGRATION_LOCK)
            await asyncio.to_thread(migrate, empty)
        finally:
            await other.close()

    in_thread(beside())
    assert differences(empty) == []


def test_index_is_built_concurrently_while_others_wait_to_migrate(empty: str) -> None:
    async def wait() -> None:
        async with migrations.alone(empty):
            pass

    async def build() -> None:
        builder = await asyncpg.connect(empty)
        try:
            await builder.execute("CREATE TABLE busy (id text)")
            async with migrations.alone(empty):
                waiting = asyncio.ensure_future(wait())
                await builder.execute("SET lock_timeout = '10s'")
                await builder.execute("CREATE INDEX CONCURRENTLY busy_id ON busy (id)")
                assert not waiting.done()
            await waiting
        finally:
            await builder.close()

    in_thread(build())


def test_history_of_migrations_is_one_line(empty: str) -> None:
    assert len(ScriptDirectory.from_config(config(empty)).get_heads()) == 1


def test_service_role_is_limited(empty: str) -> None:
    in_thread(asyncio.to_thread(migrate, empty))
    limits = query(empty, "SELECT rolconfig FROM pg_roles WHERE rolname = current_user")
    assert isinstance(limits, list)
    assert "default_transaction_isolation=read committed" in limits
    assert "statement_timeout=2s" in limits
