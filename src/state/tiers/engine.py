"""SQLAlchemy's engine, for configs, people and lists, and where its errors become ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from src.state.errors import DurableTierUnavailable
from src.state.protocols import Trip
from src.state.settings import StateSettings
from src.state.tiers.postgres import NO_ANSWER
from src.state.tiers.transports import answered
from src.state.tiers.urls import SQLALCHEMY


def answering() -> AbstractContextManager[None]:
    """Turn every failure of PostgreSQL, SQLAlchemy's own included, into DurableTierUnavailable."""
    errors = (DBAPIError, PoolTimeout, *NO_ANSWER)
    return answered(errors, DurableTierUnavailable, "PostgreSQL")


async def fetch(engine: AsyncEngine, query: Any, way: Trip) -> Sequence[Any]:
    """Run one query and return its rows as mappings.

    Raises:
        DurableTierUnavailable: PostgreSQL did not answer.
    """
    with answering():
        async with way(), engine.connect() as connection:
            return (await connection.execute(query)).mappings().all()


@asynccontextmanager
async def open_engine(settings: StateSettings) -> AsyncIterator[AsyncEngine]:
    """Open the engine; close it at the end of the block."""
    engine = create_async_engine(
        SQLALCHEMY,
        async_creator=lambda: asyncpg.connect(
            settings.database_url.get_secret_value(),
            timeout=settings.connect_timeout.total_seconds(),
            command_timeout=settings.statement_timeout.total_seconds(),
        ),
        pool_size=settings.pool_size,
        max_overflow=2 * settings.pool_size,
        pool_pre_ping=True,
        pool_timeout=settings.connect_timeout.total_seconds(),
        # Values of statements may be secrets, and errors are logged.
        hide_parameters=True,
    )
    try:
        yield engine
    finally:
        await engine.dispose()
