"""`swarmstate quarantine`: what PostgreSQL could never take, listed, shown and dropped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from src.cli.failures import explained, fail, reaching
from src.demo.cluster import DATABASE_URL, REDIS_URL
from src.embedded import open_servers
from src.state.quarantine import Quarantine, Quarantined, open_quarantine

T = TypeVar("T")

_DEFAULT_DATA_DIR = Path(".swarmstate")

app = typer.Typer(
    no_args_is_help=True,
    help="What PostgreSQL could never take: events that were refused, states without a snapshot.",
    epilog=(
        "Nothing acknowledged is in here alone: callers of refused events got an error, and a "
        "state's events are in the log. Without SWARMSTATE_DATABASE_URL the embedded servers of "
        "the data folder are looked at."
    ),
)

DataDir = Annotated[
    Path,
    typer.Option(envvar="SWARMSTATE_DATA_DIR", help="Folder of the embedded servers."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else.")]
Position = Annotated[int, typer.Argument(min=1, help="The row's number, from `list`.")]


@app.command("list", epilog="[bold]Example[/bold]\n\nswarmstate quarantine list --json | jq .")
def list_(
    as_json: AsJson = False,
    after: Annotated[int, typer.Option(min=0, help="Rows beyond this number only.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 100,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
) -> None:
    """List the rows, oldest first."""
    rows = _ask(data_dir, lambda table: table.list(after=after, limit=limit))
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        _print(rows)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate quarantine show 3 > body.json")
def show(
    position: Position, as_json: AsJson = False, data_dir: DataDir = _DEFAULT_DATA_DIR
) -> None:
    """Show a row's body as it was meant to be stored; with --json beside the row's fields."""
    found = _ask(data_dir, lambda table: table.show(position))
    if found is None:
        fail(f"there is no row {position} in quarantine; `swarmstate quarantine list` lists them")
    row, body = found
    text = body.decode(errors="backslashreplace")
    if as_json:
        typer.echo(msgspec.json.encode({**msgspec.structs.asdict(row), "body": text}).decode())
    else:
        typer.echo(text)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate quarantine drop 3 4")
def drop(
    positions: Annotated[list[int], typer.Argument(min=1, help="The rows' numbers.")],
    as_json: AsJson = False,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
) -> None:
    """Delete rows that were looked at."""
    dropped = _ask(data_dir, lambda table: table.drop(positions))
    if as_json:
        typer.echo(msgspec.json.encode({"dropped": dropped}).decode())
    missing = sorted(set(positions) - set(dropped))
    if missing:
        fail(f"not in quarantine: {', '.join(map(str, missing))}")
    if not as_json:
        typer.echo(f"dropped {len(dropped)}")


def _ask(data_dir: Path, work: Callable[[Quarantine], Awaitable[T]]) -> T:
    async def ask(url: str) -> T:
        async with open_quarantine(url) as table:
            return await work(table)

    database, redis = os.environ.get(DATABASE_URL), os.environ.get(REDIS_URL)
    # Redis is not needed, so a database of one's own is enough.
    with (
        explained(),
        open_servers(
            data_dir, database_url=database, redis_url=redis or (database and "redis://unused")
        ) as servers,
        reaching(servers.database_url),
    ):
        return asyncio.run(ask(servers.database_url))


def _print(rows: Sequence[Quarantined]) -> None:
    console = Console(highlight=False)
    if not rows:
        console.print("nothing is in quarantine", style="green")
        return
    table = Table("row", "at", "what", "id", Column("why", overflow="fold"), "bytes")
    for row in rows:
        at = row.at.isoformat(" ", "seconds")
        table.add_row(str(row.position), at, row.type, row.aggregate_id, row.why, str(row.size))
    console.print(table)
