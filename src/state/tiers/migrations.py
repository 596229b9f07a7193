"""Builds the tables and sets the limits that the protocol counts on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from src.state.tiers.postgres import Connection

SCRIPTS = Path(__file__).resolve().parents[3] / "alembic"
"""The revisions: beside the package."""

_ROLE_LOCK = 7_305_148_212

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


def migrate(
    database_url: str, *, service_role: str | None = None, erase_role: str | None = None
) -> None:
    """Bring the database to this release's schema; does nothing when it is there already.

    The roles, when given, exist already; the service's may then do everything but change the log,
    and the other may erase. Without them whoever migrates owns the tables, and serves.

    Must not be called from a running event loop. Safe to run from several processes at once.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")
    roles = {"service": service_role, "erase": erase_role}
    asyncio.run(_set_roles(database_url, {part: role for part, role in roles.items() if role}))


async def _set_roles(database_url: str, roles: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            # Two servers that start at once would else trip over the same catalogue row.
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
