"""Connections to PostgreSQL, and the one place where its errors become ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import asyncpg

from src.state.errors import DuplicateEvent, DurableTierUnavailable, UnfitEvent
from src.state.protocols import Trip, open_way
from src.state.settings import StateSettings
from src.state.tiers.transports import answered
from src.state.tiers.urls import masked

# Only their stubs are generic.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Lent: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# After a failover or a restore the server writes another timeline; epochs of the old one are lower.
TIMELINE = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"

NO_ANSWER = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # A session that the server ended while it was idle: the driver trips over its farewell.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Whatever the driver raises when there is no telling what became of a statement."""


@contextmanager
def answering() -> Iterator[None]:
    """Turn driver errors into errors of this room.

    Raises:
        DuplicateEvent: a unique constraint refused the statement.
        UnfitEvent: SQLSTATE class 22 or 23, or a value the driver cannot encode: sending the same
            row again can never work.
        DurableTierUnavailable: anything else; after it a write is of unknown outcome.
    """
    with answered(NO_ANSWER, DurableTierUnavailable, "PostgreSQL"):
        try:
            yield
        except asyncpg.UniqueViolationError as error:
            raise DuplicateEvent(str(error)) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise UnfitEvent(str(error)) from error


async def _check(connection: Connection) -> None:
    """Refuse a session in which a takeover could miss an append that it waited for."""
    level = await connection.fetchval("SHOW transaction_isolation")
    if level != "read committed":
        raise DurableTierUnavailable(
            f"PostgreSQL sessions start in {level!r}; set default_transaction_isolation of the "
            "service role to 'read committed' (`swarmstate migrate` does)"
        )


async def _leave_as_it_is(_: Connection) -> None:
    """Spare the trip that resets a session: nothing here ever changes one."""


async def connect(settings: StateSettings) -> Connection:
    """Open one connection of its own, for work that must not wait behind other work.

    Raises:
        DurableTierUnavailable: no connection within the time-out; the URL is named, masked.
    """
    url = settings.database_direct_url or settings.database_url
    try:
        connection = await asyncpg.connect(
            url.get_secret_value(),
            timeout=settings.connect_timeout.total_seconds(),
            command_timeout=settings.statement_timeout.total_seconds(),
        )
    except NO_ANSWER as error:
        raise unreachable(url.get_secret_value(), error) from error
    try:
        with answering():
            await _check(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


_OPERATOR_S = 5.0
"""How long an operator's command waits for its connection."""


@asynccontextmanager
async def open_connection(database_url: str) -> AsyncIterator[Connection]:
    """Open one connection for the length of the block, for an operator's command.

    Raises:
        DurableTierUnavailable: the database does not answer; it is named.
    """
    try:
        connection = await asyncpg.connect(database_url, timeout=_OPERATOR_S)
    except NO_ANSWER as error:
        raise unreachable(database_url, error) from error
    try:
        yield connection
    finally:
        await connection.close()


def unreachable(url: str, error: Exception) -> DurableTierUnavailable:
    """Say which database does not answer and what to try."""
    return DurableTierUnavailable(
        f"no connection to PostgreSQL at {masked(url)}: {str(error) or type(error).__name__}. "
        "Check that it runs and that host, port, user and password in SWARMSTATE_DATABASE_URL "
        "are right, or unset it to let swarmstate start its own"
    )


class Pool:
    """Connections lent one at a time, by a way that may be shut."""

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], settings: StateSettings, way: Trip
    ) -> None:
        self._pool = pool
        self._way = way
        self._patience_s = settings.connect_timeout.total_seconds()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Lent]:
        """Lend a connection.

        Raises:
            DurableTierUnavailable: the way is shut, none came free, or there was no answer.
            DuplicateEvent, UnfitEvent: as `answering` says.
        """
        async with self._way():
            with answering():
                connection = await self._pool.acquire(timeout=self._patience_s)
                try:
                    yield connection
                except (TimeoutError, asyncio.CancelledError):
                    # The driver would wait for the server to confirm that it gave up: a server
                    # that hangs confirms nothing, and the pool would be empty soon.
                    connection.terminate()
                    raise
                finally:
                    await self._pool.release(connection)

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Return all rows of one statement."""
        async with self.lend() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row of one statement."""
        async with self.lend() as connection:
            return await connection.fetchrow(query, *arguments)

    async def execute(self, query: str, *arguments: object) -> None:
        """Run one statement."""
        async with self.lend() as connection:
            await connection.execute(query, *arguments)


@asynccontextmanager
async def open_pool(settings: StateSettings, *, way: Trip = open_way) -> AsyncIterator[Pool]:
    """Open the pool for reads, flushes and ownership; close it at the end of the block."""
    url = settings.database_url.get_secret_value()
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=min(4, settings.pool_size),
            max_size=settings.pool_size,
            timeout=settings.connect_timeout.total_seconds(),
            command_timeout=settings.statement_timeout.total_seconds(),
            init=_check,
            reset=_leave_as_it_is,
        )
    except NO_ANSWER as error:
        raise unreachable(url, error) from error
    try:
        yield Pool(pool, settings, way)
    finally:
        try:
            await asyncio.wait_for(pool.close(), timeout=5)
        except TimeoutError:
            pool.terminate()


class Line:
    """One connection of its own that comes back after a break.

    Used one statement at a time by the group commit, the beat and the pull: a pool would let other
    work stand in their way.
    """

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Lend the connection for one statement.

        When the outcome is unknown the connection is dropped: a statement still under way must not
        land after its successor was sent.

        Raises:
            DurableTierUnavailable: PostgreSQL cannot be reached or did not answer.
        """
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._settings)
            try:
                with answering():
                    yield self._connection
            except (DurableTierUnavailable, asyncio.CancelledError):
                connection, self._connection = self._connection, None
                connection.terminate()
                raise

    async def aclose(self) -> None:
        """Close the connection; the line can be used again and opens another."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()
