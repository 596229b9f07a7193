"""Real servers for the tests: one pair per pytest process, a fresh database and Redis number each.

`SWARMSTATE_TEST_DATABASE_URL` and `SWARMSTATE_TEST_REDIS_URL` name servers to use instead of the
embedded ones. They are other variables than the product's on purpose: tests create databases and
flush Redis.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from redis import Redis

from src.embedded import Servers, open_servers

Result = TypeVar("Result")
ADMIN_LIMITS = {"statement_timeout": "0", "lock_timeout": "0"}
"""The migration limits the role to what a server may take; making a database may take longer."""


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a data folder for servers, and remove it afterwards with all that they wrote."""
    with TemporaryDirectory(prefix="swarmstate-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def open_test_servers(data_dir: Path) -> Iterator[Servers]:
    """Open the pair that the environment names, else the embedded one, without fsync."""
    with open_servers(
        data_dir,
        database_url=os.environ.get("SWARMSTATE_TEST_DATABASE_URL"),
        redis_url=os.environ.get("SWARMSTATE_TEST_REDIS_URL"),
        durable=False,
    ) as servers:
        yield servers


class Databases:
    """Databases on one server, each a copy of a template that was migrated once."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self._numbers = count(1)
        self._prefix = f"test_{os.getpid()}"
        self._template: str | None = None

    def create(self) -> str:
        """Return the URL of a new database with the release's tables and no rows."""
        if self._template is None:
            self._template = self._migrated()
        name = f"{self._prefix}_{next(self._numbers)}"
        self._admin(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        return self._url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._admin(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def close(self) -> None:
        if self._template is not None:
            self._admin(f'DROP DATABASE IF EXISTS "{self._template}" WITH (FORCE)')

    def _migrated(self) -> str:
        # Not at the top: the embedded room's own tests must run without the state room.
        from src.state.tiers.migrations import migrate

        name = f"{self._prefix}_template"
        self._admin(f'CREATE DATABASE "{name}"')
        in_thread(asyncio.to_thread(migrate, self._url(name)))
        return name

    def _admin(self, statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self._admin_url, server_settings=ADMIN_LIMITS)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        in_thread(execute())

    def _url(self, name: str) -> str:
        return urlsplit(self._admin_url)._replace(path=f"/{name}").geturl()


class RedisNumbers:
    """The logical databases of one Redis, taken in turn: what an earlier test left running in its
    own number does not write into the next one's."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = cycle(range(16))

    def take(self) -> str:
        """Return the URL of an empty logical database."""
        url = urlsplit(self._url)._replace(path=f"/{next(self._numbers)}").geturl()
        with Redis.from_url(url) as client:
            client.flushdb()
        return url


def in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end from a fixture, whether or not an event loop is running here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
