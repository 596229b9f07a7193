"""What commands need that ask PostgreSQL themselves, with or without servers beside them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from src.cli.failures import explained, fail, reaching
from src.demo.cluster import DATABASE_URL, REDIS_URL
from src.embedded import open_servers

Tables = TypeVar("Tables")
T = TypeVar("T")
Row = TypeVar("Row", int, str)

DEFAULT_DATA_DIR = Path(".swarmstate")

DataDir = Annotated[
    Path,
    typer.Option(envvar="SWARMSTATE_DATA_DIR", help="Folder of the embedded servers."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else.")]


def ask(
    data_dir: Path,
    open_tables: Callable[[str], AbstractAsyncContextManager[Tables]],
    work: Callable[[Tables], Awaitable[T]],
) -> T:
    """Open tables by the database's URL and return what `work` makes of them.

    Without SWARMSTATE_DATABASE_URL the embedded servers of the folder are started for it. What goes
    wrong is explained, and ends the command.
    """

    async def opened(url: str) -> T:
        async with open_tables(url) as tables:
            return await work(tables)

    database, redis = os.environ.get(DATABASE_URL), os.environ.get(REDIS_URL)
    # Redis is not needed, so a database of one's own is enough.
    with (
        explained(),
        open_servers(
            data_dir, database_url=database, redis_url=redis or (database and "redis://unused")
        ) as servers,
        reaching(servers.database_url),
    ):
        return asyncio.run(opened(servers.database_url))


def tell(
    done: str, which: Sequence[Row], asked: Sequence[Row], wanted: str, *, as_json: bool
) -> None:
    """Say to which of the rows that were asked for it was done; fail if some are not `wanted`."""
    if as_json:
        typer.echo(msgspec.json.encode({done: which}).decode())
    missing = sorted(set(asked) - set(which))
    if missing:
        fail(f"not {wanted}: {', '.join(map(str, missing))}")
    if not as_json:
        typer.echo(f"{done} {len(which)}")
