"""How Alembic reaches the database: a transaction per migration, one migrator at a time."""

from __future__ import annotations

import asyncio

import asyncpg
from alembic import context
from sqlalchemy import Connection
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from src.state.tiers.migrations import alone
from src.state.tiers.room_tables import metadata
from src.state.tiers.urls import SQLALCHEMY

_LIMITS = (
    "SET LOCAL statement_timeout = 0",
    # As long as a server waits for a lock itself: everybody who comes later waits behind a
    # migration that waits, and has to get its turn all the same.
    "SET LOCAL lock_timeout = '1s'",
)


def _limit(connection: Connection) -> None:
    for statement in _LIMITS:
        connection.exec_driver_sql(statement)


def _migrate(connection: Connection) -> None:
    # Per transaction and not per session: a pooler may swap sessions between two of them.
    listen(connection, "begin", _limit)
    # A migration that waits or fails holds no lock of an earlier one, and does not undo it.
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    engine = create_async_engine(
        SQLALCHEMY, async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    try:
        async with alone(url), engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


asyncio.run(_run())
