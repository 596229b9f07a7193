"""`make bench`: measure every row, print the table, and write it into docs/benchmarks.md."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from cProfile import Profile
from pathlib import Path
from pstats import Stats
from tempfile import TemporaryDirectory
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console

from src.embedded import open_servers
from src.state.tiers.migrations import migrate
from tests.benchmarks.report import machine, notes, table, write
from tests.benchmarks.row import ROWS, Row
from tests.benchmarks.rows import (
    acks,
    announce,
    flush,
    growth,
    memory,
    peers,
    reads,
    two_servers,
)
from tests.benchmarks.runner import console, run

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
CHAPTERS = (reads, acks, peers, flush, announce, two_servers, memory, growth)
"""Importing them registered their rows; the table is in this order."""


@contextmanager
def profiled() -> Iterator[None]:
    """Print where the time of everything in the block went."""
    profile = Profile()
    with profile:
        yield
    Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)


def chosen(only: Sequence[str]) -> list[Row]:
    """Return the rows with these names, all without names.

    Raises:
        typer.BadParameter: no row has that name.
    """
    order = [chapter.__name__ for chapter in CHAPTERS]
    ordered = sorted(ROWS, key=lambda one: order.index(one.open.__module__))
    known = {one.name: one for one in ordered}
    for name in only:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is no row; there are {', '.join(known)}")
    return [one for one in ordered if not only or one.name in only]


def main(
    only: Annotated[list[str] | None, typer.Option(help="Measure this row; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over all rows.")] = 7,
    quick: Annotated[
        bool, typer.Option(help="One small round: does it run at all? Figures mean nothing.")
    ] = False,
    save: Annotated[
        bool, typer.Option("--write", help="Write the table into docs/benchmarks.md.")
    ] = False,
    profile: Annotated[bool, typer.Option(help="Print a profile; best with --only.")] = False,
) -> None:
    """Measure swarmstate against the bare parts and its peers, side by side in one run."""
    if save and (only or quick):
        raise typer.BadParameter("--write needs a whole run: leave out --only and --quick")
    rows = chosen(only or [])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with (
        TemporaryDirectory(prefix="swarmstate-bench-", ignore_cleanup_errors=True) as folder,
        open_servers(Path(folder) / "data", durable=True) as servers,
        open_servers(Path(folder) / "apart", durable=True) as apart,
        profiled() if profile else nullcontext(),
    ):
        for each in (servers, apart):
            migrate(each.database_url)
        outcomes = uvloop.run(
            run(servers, apart, Path(folder), rows, 1 if quick else rounds, quick=quick)
        )
        described = machine(servers)
    console.print(described)
    # Into a file or a pipe a table of eight columns needs more than the usual 80 characters.
    Console(width=None if sys.stdout.isatty() else 200).print(table(outcomes))
    console.print(notes(outcomes))
    if save:
        write(DOCUMENT, outcomes, described)
        console.print(f"written to {DOCUMENT}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
