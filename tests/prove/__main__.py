"""`make prove`: play the acts of the proof, and write docs/proof.md."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.prove import report, runner
from tests.prove.act import Act, collect
from tests.prove.shelf import Record, Shelf, tree_of

console = Console(width=None if sys.stdout.isatty() else 160)
INTERRUPTED = 130
_COLOURS = {"kept": "green", "broken": "bold red", "failed": "red"}


class Screen:
    """A bar for the whole, a line for each act under way, a line for each finished one."""

    def __init__(self, progress: Progress, acts: Sequence[Act], done: Sequence[Record]) -> None:
        self._progress = progress
        self._lines: dict[str, TaskID] = {}
        self._whole = progress.add_task(
            "the proof", total=sum(act.about_s for act in acts), text=self._how_many(0, len(acts))
        )
        self._acts, self._finished = len(acts), 0
        for act in acts:
            for record in done:
                if record.act == act.name:
                    self._advance(act)

    @staticmethod
    def _how_many(finished: int, acts: int) -> str:
        return f"{finished} of {acts} acts"

    def _advance(self, act: Act) -> None:
        self._finished += 1
        text = self._how_many(self._finished, self._acts)
        self._progress.update(self._whole, advance=act.about_s, text=text)

    def began(self, act: Act) -> None:
        self._lines[act.name] = self._progress.add_task(act.name, total=None, text="begins")

    def told(self, act: Act, text: str) -> None:
        self._progress.update(self._lines[act.name], text=text)

    def ended(self, act: Act, record: Record | None) -> None:
        self._progress.remove_task(self._lines.pop(act.name))
        if record is None:
            self._progress.console.print(f"{act.name}: ended early, not played")
            return
        self._advance(act)
        self._progress.console.print(line(record))


def line(record: Record) -> str:
    """Tell of a finished act in one line."""
    counted = ", ".join(f"{name} {count:,}" for name, count in record.result.counts.items())
    what = record.why or counted
    colour = _COLOURS[record.outcome]
    when = time.strftime("%H:%M:%S")
    return f"{when} [{colour}]{record.outcome}[/] {record.act} ({record.took_s:.0f} s): {what}"


def chosen(acts: Sequence[Act], only: Sequence[str]) -> list[Act]:
    """Return the acts of these kinds or names, all without any.

    Raises:
        typer.BadParameter: nothing is called that.
    """
    for name in only:
        if not any(_called(act, name) for act in acts):
            kinds = ", ".join(sorted({act.kind for act in acts}))
            raise typer.BadParameter(f"{name!r} is no act and no kind; kinds are {kinds}")
    return [act for act in acts if not only or any(_called(act, name) for name in only)]


def _called(act: Act, name: str) -> bool:
    return act.kind == name or fnmatch(act.name, name)


def show(acts: Sequence[Act], records: Sequence[Record]) -> None:
    """Print the acts with what became of them."""
    outcomes = {record.act: record.outcome for record in records}
    table = Table("act", "kind", "takes about", "outcome")
    for act in acts:
        alone = ", alone" if act.alone else ""
        table.add_row(act.name, act.kind, f"{act.about_s:.0f} s{alone}", outcomes.get(act.name, ""))
    console.print(table)


def summarise(acts: Sequence[Act], records: Sequence[Record]) -> report.Sum:
    """Print what was counted against what is required."""
    total = report.add_up(records)
    table = Table("what", "counted", "required", "enough", title=f"{len(records)} acts finished")
    for row in report.required_table(total):
        table.add_row(*(cell.strip("*") for cell in row))
    console.print(table)
    for record in total.bad:
        console.print(line(record))
    return total


async def _play(
    acts: Sequence[Act], done: Sequence[Record], waiting: Sequence[Act], shelf: Shelf, jobs: int
) -> bool:
    """Play; return whether it was to the end, and not to a Ctrl-C."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(30), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=console) as progress:
        screen = Screen(progress, acts, done)
        playing = asyncio.ensure_future(runner.play(waiting, tree_of(), shelf, screen, jobs=jobs))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, playing.cancel)
        with suppress(asyncio.CancelledError):
            await playing
        return not playing.cancelled()


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="A kind, or an act (owner-*); repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Acts that play side by side.")] = 2,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show the acts and what became of them; play nothing.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--report", help="Write docs/proof.md from what is there; play nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option(help="Forget the results of the chosen acts and play them all.")
    ] = False,
    again: Annotated[
        bool, typer.Option(help="Play failed acts again; that they failed stays on record.")
    ] = False,
    mixed: Annotated[
        bool, typer.Option(help="Let results from other sources count; the report names them all.")
    ] = False,
) -> None:
    """Prove that nothing acknowledged is ever lost, by acts of faults under load.

    Acts play side by side in processes of their own, each on its own PostgreSQL and Redis. Results
    lie in .prove/, a file per act: Ctrl-C keeps what is finished, and the next run takes up what
    is left, as long as the sources are the same. A whole run writes docs/proof.md at its end.

    The exit code is 0 only if every chosen act kept every promise and, for a whole run, all
    required counts were reached.
    """
    if write and only:
        raise typer.BadParameter("--report tells of all acts: leave out --only")
    acts, shelf, tree = chosen(collect(), only or []), Shelf(), None if mixed else tree_of()
    names = [act.name for act in acts]
    if fresh:
        shelf.clear(names)
    if show_list:
        show(acts, shelf.records(names, tree))
        return
    done = [one for one in shelf.records(names, tree) if not again or one.outcome == "kept"]
    finished = {record.act for record in done}
    waiting = [] if write else [act for act in acts if act.name not in finished]
    ended = asyncio.run(_play(acts, done, waiting, shelf, jobs)) if waiting else True
    records = shelf.records(names, tree)
    total = summarise(acts, records)
    if not ended:
        console.print("ended early; the same command takes it up again")
        raise typer.Exit(INTERRUPTED)
    if write or not only:
        console.print(f"written to {report.write(acts, records)}")
    unfinished = len(records) < len(acts)
    if total.bad or unfinished or (not only and total.missing):
        raise typer.Exit(1)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
