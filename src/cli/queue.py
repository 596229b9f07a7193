"""`swarmstate queue`: swarms that wait for a server with a free place, or waited in vain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from src.cli.database import DEFAULT_DATA_DIR, AsJson, DataDir, ask, tell
from src.cli.failures import fail
from src.state.durations import parse_duration
from src.state.queue import SHOWN, open_queue
from src.state.records.swarm_queue import Queued

app = typer.Typer(
    no_args_is_help=True,
    help="Swarms that wait for a server with a free place, waited in vain, or could not be sent.",
    epilog=(
        "A swarm that waited until its deadline is `expired`, one that could not be sent too often "
        "is `dead`. Without SWARMSTATE_DATABASE_URL the embedded servers of the data folder are "
        "looked at."
    ),
)

RoomArgument = Annotated[str, typer.Argument(metavar="ROOM", help="The room's id, from `list`.")]
RoomArguments = Annotated[list[str], typer.Argument(metavar="ROOM...", help="The rooms' ids.")]


class State(StrEnum):
    """What rows to list."""

    WAITING = "waiting"
    EXPIRED = "expired"
    DEAD = "dead"


@app.command("list", epilog="[bold]Example[/bold]\n\nswarmstate queue list --state dead --json")
def list_(
    as_json: AsJson = False,
    state: Annotated[State | None, typer.Option(help="Only those; else all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 100,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the swarms that are not on their way, in their order."""
    states = SHOWN if state is None else (state.value,)
    rows = ask(data_dir, open_queue, lambda desk: desk.list(states, limit))
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        _print(rows)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate queue show r-1 --json")
def show(room: RoomArgument, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how a room's swarm comes."""
    found = ask(data_dir, open_queue, lambda desk: desk.show(room))
    if found is None:
        fail(f"nobody asked for a swarm in room {room}; `swarmstate queue list` lists who waits")
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for name, value in msgspec.structs.asdict(found).items():
        typer.echo(f"{name}: {value}")


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate queue requeue r-1 r-2 --wait 10m")
def requeue(
    rooms: RoomArguments,
    wait: Annotated[
        timedelta, typer.Option(parser=parse_duration, help="How long they may wait: 90s, 10m.")
    ] = "2m",  # type: ignore[assignment]  # typer parses defaults too
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Put expired and dead ones back in line, at their old places."""
    back = ask(data_dir, open_queue, lambda desk: desk.requeue(rooms, wait))
    tell("requeued", back, rooms, "expired or dead in a room that lives", as_json=as_json)


@app.command(epilog="[bold]Example[/bold]\n\nswarmstate queue drop r-1")
def drop(
    rooms: RoomArguments, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Forget that these swarms were asked for; their rooms and conversations stay."""
    dropped = ask(data_dir, open_queue, lambda desk: desk.drop(rooms))
    tell("dropped", dropped, rooms, "in line, expired or dead", as_json=as_json)


def _print(rows: Sequence[Queued]) -> None:
    console = Console(highlight=False)
    if not rows:
        console.print("nobody waits", style="green")
        return
    table = Table(
        "room", "state", "place", "since", "deadline", "tries", Column("why", overflow="fold")
    )
    for row in rows:
        since, deadline = (at.isoformat(" ", "seconds") for at in (row.enqueued_at, row.deadline))
        place = str(row.position or "")
        table.add_row(row.room_id, row.state, place, since, deadline, str(row.attempts), row.why)
    console.print(table)
