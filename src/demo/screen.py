"""What a person sees: the dialogue, a progress bar, the tiers, and in the end the promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from src.demo.promises import Latency, Outcome, Promise

_TEXT_CHARACTERS = 68


class Audience:
    """Where acts show what happens. This one shows nothing: for machines."""

    def say(self, who: str, where: str, text: str) -> None:
        """Show a turn; `where` is the server that it was posted on, or `bot`."""

    def note(self, text: str) -> None:
        """Show what is being done."""

    def advance(self) -> None:
        """Move the progress bar one step on."""

    def tier(self, latency: Latency) -> None:
        """Show what one tier answered."""

    def figure(self, what: str, found: str) -> None:
        """Show what was measured, and what nothing is promised of."""

    def promise(self, promise: Promise) -> None:
        """Show one promise as soon as it was checked."""

    @contextmanager
    def live(self, steps: int) -> Iterator[None]:
        """Show progress for the length of the block."""
        yield


class Screen(Audience):
    """A terminal; without one it prints plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("[dim]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("starting PostgreSQL, Redis and the servers")
        self._tiers = _tiers_table()
        self._live: Live | None = None

    @contextmanager
    def live(self, steps: int) -> Iterator[None]:
        self._progress.update(self._task, total=steps)
        with Live(self._group(), console=self._console, transient=True) as self._live:
            yield

    def _group(self) -> Group:
        shown = (self._tiers, self._progress) if self._tiers.row_count else (self._progress,)
        return Group(*shown)

    def say(self, who: str, where: str, text: str) -> None:
        short = text if len(text) <= _TEXT_CHARACTERS else f"{text[: _TEXT_CHARACTERS - 1]}…"
        bot = where == "bot"
        line = Text.assemble(
            ("    " if bot else f"{where} > ", "dim"),
            (f"{who}: ", "bold magenta" if bot else "bold"),
            short,
        )
        self._console.print(line)

    def note(self, text: str) -> None:
        self._progress.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(f"    {text}", style="dim", markup=False)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def tier(self, latency: Latency) -> None:
        self._tiers.add_row(*_tier_row(latency))
        if self._live is not None:
            self._live.update(self._group())

    def figure(self, what: str, found: str) -> None:
        self._console.print(Text.assemble("  ", (f"{what}: ", "bold"), found))

    def promise(self, promise: Promise) -> None:
        mark = ("✓ ", "bold green") if promise.kept else ("✗ ", "bold red")
        self._console.print(Text.assemble(mark, (promise.promise.title, "bold")))
        self._console.print(Padding(Text(promise.found, "dim"), (0, 0, 0, 2)))

    def outcome(self, outcome: Outcome, seconds: float) -> None:
        """Show the tables at the end."""
        if outcome.tiers:
            table = _tiers_table()
            for latency in outcome.tiers:
                table.add_row(*_tier_row(latency))
            self._console.print(table)
        promises = Table("#", "promise", "expected", "counted from outside", "", show_lines=True)
        for one in outcome.promises:
            mark = Text("kept", "bold green") if one.kept else Text("BROKEN", "bold red")
            promises.add_row(
                str(int(one.promise)), one.promise.title, one.expected, one.found, mark
            )
        self._console.print(promises)
        broken = [one for one in outcome.promises if not one.kept]
        count = len(outcome.promises)
        if broken:
            names = "; ".join(f"{int(one.promise)} {one.promise.title}" for one in broken)
            self._console.print(f"{len(broken)} of {count} broken: {names}", style="bold red")
        else:
            self._console.print(f"all {count} promises kept in {seconds:.0f} s", style="bold green")


def _tiers_table() -> Table:
    table = Table("tier")
    for column in ("reads", "database reads", "Redis commands", "p50 ms", "worst ms"):
        table.add_column(column, justify="right")
    return table


def _tier_row(latency: Latency) -> tuple[str, ...]:
    return (
        latency.tier,
        str(latency.reads),
        str(latency.database_reads),
        str(latency.redis_commands),
        f"{latency.p50_ms:.2f}",
        f"{latency.worst_ms:.2f}",
    )
