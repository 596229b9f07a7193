"""Builds the tables and sets the limits that the protocol counts on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from src.state.tiers.urls import for_sqlalchemy

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


def migrate(database_url: str) -> None:
    """Bring the database to this release's schema; does nothing when it is there already.

    Must not be called from a running event loop. Safe to run from several processes at once.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", for_sqlalchemy(database_url).replace("%", "%%"))
    command.upgrade(config, "head")
    asyncio.run(_limit_role(database_url))


async def _limit_role(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            # Two servers that start at once would else trip over the same catalogue row.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _ROLE_LOCK)
            query = "SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = current_user"
            have = set(await connection.fetchval(query))
            for name, value in _ROLE_LIMITS.items():
                if f"{name}={value}" not in have:
                    await connection.execute(f"ALTER ROLE CURRENT_USER SET {name} = '{value}'")
    finally:
        await connection.close()
