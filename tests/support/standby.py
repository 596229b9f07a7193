"""A PostgreSQL with an asynchronous standby, and the one address that clients know them by."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg

from src.embedded.binaries import find_postgres
from src.embedded.data_dir import DataDir, open_data_dir
from src.embedded.identity import choose, give
from src.embedded.postgres import READY_LINE, USER, Postgres
from src.embedded.service import Service
from src.state.tiers.migrations import migrate
from tests.support.cluster_settings import eventually


class _Standby(Postgres):
    """The recipe of a server that follows another one."""

    def ready(self, pid: int, port: int) -> bool:
        try:
            lines = (self._folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # It is ready for reading as a standby, and for all once it was promoted.
        return len(lines) > READY_LINE and lines[READY_LINE].strip() in ("standby", "ready")


class Switch:
    """One port that leads to a server, and later to another: what a failover gives clients."""

    def __init__(self) -> None:
        self._target = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def turn_to(self, port: int) -> None:
        """Lead whoever connects from now on there, and end what is connected elsewhere."""
        self._target = port
        for writer in self._open:
            writer.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield
        finally:
            self._server.close()
            self.turn_to(0)
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there}
        self._open |= ends
        try:
            await asyncio.gather(_pour(reader, there), _pour(there_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


class Pair:
    """The primary, its standby, and the switch before them."""

    def __init__(self, primary: Service, standby: Service, switch: Switch, password: str) -> None:
        self._primary, self._standby = primary, standby
        self._switch = switch
        self._password = password

    @property
    def url(self) -> str:
        """Where clients find whichever server is the primary."""
        return self._url(self._switch.port)

    def _url(self, port: int | None) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{port}/swarmstate"

    async def _ask(self, service: Service, query: str) -> object:
        connection = await asyncpg.connect(self._url(service.port), timeout=10)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def caught_up(self) -> None:
        """Return when the standby has all that the primary has now."""
        here = await self._ask(self._primary, "SELECT pg_current_wal_flush_lsn()::text")

        async def is_there() -> bool:
            there = f"SELECT pg_last_wal_replay_lsn() >= '{here}'::pg_lsn"
            return bool(await self._ask(self._standby, there))

        await eventually(is_there, 30, what="the standby has caught up")

    async def cut(self) -> None:
        """Let nothing reach the standby any more, without a sign to the primary's clients."""
        await self._ask(self._standby, "ALTER SYSTEM SET primary_conninfo = ''")
        await self._ask(self._standby, "SELECT pg_reload_conf()")

        async def is_cut() -> bool:
            receivers = await self._ask(self._standby, "SELECT count(*) FROM pg_stat_wal_receiver")
            return receivers == 0

        await eventually(is_cut, 30, what="the standby receives nothing")

    async def fail_over(self) -> None:
        """Kill the primary, promote the standby, lead clients there."""
        await asyncio.to_thread(self._primary.kill)
        assert await self._ask(self._standby, "SELECT pg_promote(true, 60)")
        self._switch.turn_to(self._standby.port or 0)


@asynccontextmanager
async def open_pair(folder: Path) -> AsyncIterator[Pair]:
    """Start both, with the release's tables; stop them at the end of the block."""
    async with AsyncExitStack() as stack:
        here = stack.enter_context(open_data_dir(folder / "primary"))
        primary = await asyncio.to_thread(_prepared, here)
        there = stack.enter_context(_copied(here, folder / "standby"))
        port = await asyncio.to_thread(primary.start)
        stack.push_async_callback(asyncio.to_thread, primary.stop)
        standby = await asyncio.to_thread(_following, there, port)
        await asyncio.to_thread(standby.start)
        stack.push_async_callback(asyncio.to_thread, standby.stop)
        switch = Switch()
        await stack.enter_async_context(switch.running())
        switch.turn_to(port)
        pair = Pair(primary, standby, switch, here.password)
        await asyncio.to_thread(migrate, pair._url(port))
        yield pair


def _prepared(data_dir: DataDir) -> Service:
    binary = find_postgres()
    recipe = Postgres(binary, data_dir, choose(binary, data_dir.path), durable=False)
    recipe.prepare()
    return Service(recipe, data_dir.path)


@contextmanager
def _copied(data_dir: DataDir, to: Path) -> Iterator[DataDir]:
    """Copy a cluster that was never started: both have one history from the first byte on."""
    to.mkdir()
    shutil.copytree(data_dir.path / "postgres", to / "postgres")
    shutil.copy(data_dir.path / "password", to / "password")
    with open_data_dir(to) as copied:
        yield copied


def _following(data_dir: DataDir, port: int) -> Service:
    binary = find_postgres()
    identity = choose(binary, data_dir.path)
    recipe = _Standby(binary, data_dir, identity, durable=False)
    folder = data_dir.path / "postgres"
    (folder / "standby.signal").touch()
    with (folder / "postgresql.auto.conf").open("a") as out:
        out.write(
            f"primary_conninfo = 'host=127.0.0.1 port={port} user={USER} "
            f"password={data_dir.password}'\n"
        )
    give([folder], identity)
    return Service(recipe, data_dir.path)
