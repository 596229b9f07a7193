"""Builds the tables and sets the limits that the protocol counts on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from src.state.errors import StateError
from src.state.tiers.postgres import Connection

SCRIPTS = Path(__file__).resolve().parents[3] / "alembic"
"""The revisions: beside the package."""

# Any constants of our own: two that start at once must not both build the tables, or trip over the
# same catalogue row.
MIGRATION_LOCK = 7_305_148_211
_ROLE_LOCK = 7_305_148_212
PATIENCE_S = 60.0
"""How long to wait for another process that migrates."""
_LOCK = f"""
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = '200ms';
SELECT pg_advisory_xact_lock({MIGRATION_LOCK})
"""
_LOCK_NOT_AVAILABLE = "55P03"

# Set on the role, not per session: a pooler in transaction mode may swap sessions under us.
_ROLE_LIMITS = {
    "statement_timeout": "2s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "2s",
    "default_transaction_isolation": "read committed",
    # Every hot statement goes by key: planning it anew each time, which PostgreSQL prefers for the
    # partitioned log, costs more than running it.
    "plan_cache_mode": "force_generic_plan",
}


# The log is for adding only: neither what went wrong in the service nor who has broken into it
# can change or remove what was said. The erasing role can remove it, and read no more than it must.
_GRANTS = {
    "service": (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        "REVOKE UPDATE, DELETE ON {events} FROM {role}",
    ),
    "erase": (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, DELETE ON events, quarantine TO {role}",
        "GRANT SELECT ON conversations TO {role}",
    ),
}
_EVENTS = """
SELECT 'events, ' || string_agg(inhrelid::regclass::text, ', ')
FROM pg_inherits WHERE inhparent = 'events'::regclass
"""


class HeldUp(StateError):
    """A migration could not get its turn; what was migrated before it stays."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(
            f"{what}. {advice}, and run `swarmstate migrate` again: it goes on where it stopped"
        )


def migrate(
    database_url: str, *, service_role: str | None = None, erase_role: str | None = None
) -> None:
    """Bring the database to this release's schema; does nothing when it is there already.

    The roles, when given, exist already; the service's may then do everything but change the log,
    and the other may erase. Without them whoever migrates owns the tables, and serves.

    Must not be called from a running event loop. Safe to run from several processes at once. Each
    migration is a transaction of its own: interrupted, it can be run again.

    Raises:
        HeldUp: somebody else held a lock for too long; says on what and what to do.
        sqlalchemy.exc.DBAPIError, asyncpg.PostgresError, OSError: the driver's own errors.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        statement = " ".join((error.statement or "").split())
        raise HeldUp(
            f"another transaction holds what `{statement[:200]}` needs",
            "End it, or wait for its end (SELECT pid, xact_start, query FROM pg_stat_activity "
            "WHERE xact_start < now() - interval '1 s' names it; a dump holds its tables for long)",
        ) from error
    roles = {"service": service_role, "erase": erase_role}
    asyncio.run(_set_roles(database_url, {part: role for part, role in roles.items() if role}))


@asynccontextmanager
async def alone(database_url: str) -> AsyncIterator[None]:
    """Be the only process that migrates for the length of the block.

    The lock is held by an open transaction, which no pooler takes apart, and which keeps no
    snapshot: an index that is built concurrently waits for whoever has one.

    Raises:
        HeldUp: another process migrates, and takes longer than `PATIENCE_S`.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        while not await _lock(connection):
            if asyncio.get_running_loop().time() >= deadline:
                raise HeldUp(
                    f"another process has been migrating this database for {PATIENCE_S:.0f} s",
                    "Wait for it, or end it",
                )
        yield
    finally:
        await connection.close()


async def _lock(connection: Connection) -> bool:
    transaction = connection.transaction()
    await transaction.start()
    try:
        # Without arguments: a statement that was prepared would keep its snapshot until the end.
        await connection.execute(_LOCK)
    except asyncpg.LockNotAvailableError:
        await transaction.rollback()
        return False
    return True


async def _set_roles(database_url: str, roles: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _ROLE_LOCK)
            me = await connection.fetchval("SELECT current_user")
            for role in {me, *roles.values()}:
                await _limit(connection, role)
            for part, role in roles.items():
                await _grant(connection, part, role)
    finally:
        await connection.close()


async def _limit(connection: Connection, role: str) -> None:
    query = "SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = $1"
    have = set(await connection.fetchval(query, role) or ())
    for name, value in _ROLE_LIMITS.items():
        if f"{name}={value}" not in have:
            await connection.execute(f"ALTER ROLE {_quoted(role)} SET {name} = '{value}'")


async def _grant(connection: Connection, part: str, role: str) -> None:
    events = await connection.fetchval(_EVENTS)
    for statement in _GRANTS[part]:
        await connection.execute(statement.format(role=_quoted(role), events=events))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
