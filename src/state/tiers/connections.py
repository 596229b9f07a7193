"""A server's connections to its stores, each for one use, so that none waits for another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.protocols import Trip
from src.state.settings import StateSettings
from src.state.tiers.engine import open_engine
from src.state.tiers.postgres import Line, Pool, open_pool
from src.state.tiers.redis import Client, open_redis


class Connections(NamedTuple):
    """Redis for bodies, announcements, pulls and counts; PostgreSQL for all, and lines for one."""

    pool: Pool
    engine: AsyncEngine
    bodies: Client
    announcing: Client
    pulls: Client
    counting: Client
    append: Line
    beat: Line
    pull: Line
    notice: Line


@asynccontextmanager
async def open_connections(settings: StateSettings, database: Trip) -> AsyncIterator[Connections]:
    """Connect to both stores; `database` is the way of what goes through the pool.

    Raises:
        DurableTierUnavailable, SharedTierUnavailable: a store does not answer; it is named.
    """
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, way=database))
        engine = await stack.enter_async_context(open_engine(settings))
        bodies, announcing, pulls, counting = [
            await stack.enter_async_context(open_redis(settings, alone=alone))
            for alone in (False, True, False, False)
        ]
        append, beat, pull, notice = [Line(settings) for _ in range(4)]
        for line in (append, beat, pull, notice):
            stack.push_async_callback(line.aclose)
        yield Connections(
            pool, engine, bodies, announcing, pulls, counting, append, beat, pull, notice
        )
