"""The one table, for a terminal and for docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from src.embedded import Servers
from tests.benchmarks.row import Outcome, figure

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEADINGS = ("row", "path", "against", "ours", "theirs", "ratio", "target", "holds?")
_PACKAGES = (
    "asyncpg",
    "redis",
    "hiredis",
    "msgspec",
    "cachetools",
    "uvloop",
    "uvicorn",
    "starlette",
    "cashews",
    "aiocache",
    "langgraph-checkpoint-postgres",
)


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Return one row's texts, in the order of the headings."""
    row, ratio, spread = outcome.row, outcome.ratio, outcome.spread
    against = outcome.against
    low_high = f" ({spread[0]:.2g}-{spread[1]:.2g})" if spread and len(outcome.samples) > 1 else ""
    return (
        row.name,
        row.path,
        row.against or "-",
        figure(outcome.ours, row.unit),
        "-" if against is None else figure(against, row.unit),
        "-" if ratio is None else f"{ratio:.2f}x{low_high}",
        row.target.text(row.unit),
        "yes" if outcome.holds else "NO",
    )


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the table for a terminal."""
    drawn = Table(title="ratio = ours / against: median over rounds (lowest-highest)")
    for heading in _HEADINGS:
        drawn.add_column(heading, overflow="fold")
    for outcome in outcomes:
        drawn.add_row(*cells(outcome), style=None if outcome.holds else "yellow")
    return drawn


def machine(servers: Servers) -> str:
    """Say what it was measured on, and with which versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; "
        f"Python {platform.python_version()}, {servers.postgres}, {servers.redis}, both with fsync "
        f"as shipped, over loopback; {packages}."
    )


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", told)
    return found[1] if found else platform.machine()


def notes(outcomes: Sequence[Outcome]) -> str:
    """Return what was noted of the last round of each row, a line each."""
    return "\n".join(f"- {o.row.name}: {o.note}." for o in outcomes if o.note)


def write(document: Path, outcomes: Sequence[Outcome], described: str) -> None:
    """Put machine, table and notes between the document's two markers.

    Raises:
        ValueError: the document has no markers.
    """
    text = document.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{document} needs the lines {_BEGIN} and {_END}")
    lines = [f"| {' | '.join(_HEADINGS)} |", "|" + " --- |" * len(_HEADINGS)]
    lines += [f"| {' | '.join(cells(outcome))} |" for outcome in outcomes]
    parts = [described, "\n".join(lines), notes(outcomes)]
    figures = "\n\n".join(part for part in parts if part)
    document.write_text(f"{before}{_BEGIN}\n{figures}\n{_END}{after}")
