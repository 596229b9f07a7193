"""`swarmstate quarantine`: what PostgreSQL could never take, listed, shown and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from src.cli.database import DEFAULT_DATA_DIR, AsJson, DataDir, ask, tell
from src.cli.failures import fail
from src.state.quarantine import Quarantined, open_quarantine

app = typer.Typer(
    no_args_is_help=True,
    help="What PostgreSQL could never take: events that were refused, states without a snapshot.",
    epilog=(
        "Nothing acknowledged is in here alone: callers of refused events got an error, and a "
        "state's events are in the log. Without SWARMSTATE_DATABASE_URL the embedded servers of "
        "the data folder are looked at."
    ),
)

Position = Annotated[int, typer.Argument(min=1, help="The row's number, from `list`.")]


@app.command("list", epilog="[bold]Example[/bold]\n\nswarmstate quarantine list --json | jq .")
def list_(
    as_json: AsJson = False,
    after: Annotated[int, typer.Option(min=0, help="Rows beyond this number only.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 100,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the rows, oldest first."""
    rows = ask(data_dir, open_quarantine, lambda table: table.list(after=after, limit=limit))
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        _print(rows)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate quarantine show 3 > body.json")
def show(position: Position, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show a row's body as it was meant to be stored; with --json beside the row's fields."""
    found = ask(data_dir, open_quarantine, lambda table: table.show(position))
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
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Delete rows that were looked at."""
    dropped = ask(data_dir, open_quarantine, lambda table: table.drop(positions))
    tell("dropped", dropped, positions, "in quarantine", as_json=as_json)


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
