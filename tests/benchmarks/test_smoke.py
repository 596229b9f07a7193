"""The benchmarks run: small, once, on the tests' servers. No figure is judged here."""

import math
from pathlib import Path

from src.embedded import open_servers
from tests.benchmarks.report import cells, write
from tests.benchmarks.row import ROWS, Outcome, Sample, Target
from tests.benchmarks.rows import acks, flush, growth, memory, reads
from tests.benchmarks.runner import run

IN_ONE_PROCESS = [chapter.__name__ for chapter in (reads, acks, flush, memory, growth)]


async def test_every_row_of_one_process_gives_finite_figures(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    rows = [one for one in ROWS if one.open.__module__ in IN_ONE_PROCESS]
    with open_servers(tmp_path, database_url=database_url, redis_url=redis_url) as servers:
        outcomes = await run(servers, servers, tmp_path, rows, 1, quick=True)
    assert [outcome.row for outcome in outcomes] == rows
    for outcome in outcomes:
        assert math.isfinite(outcome.ours), outcome.row.name
        assert outcome.ratio is None or math.isfinite(outcome.ratio), outcome.row.name


def outcome(*samples: Sample, target: Target) -> Outcome:
    row = ROWS[0]
    return Outcome(type(row)("name", "path", "against", "s", target, 9, row.open), samples)


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    samples = (Sample(1.0, 1.0), Sample(8.0, 4.0), Sample(30.0, 10.0))
    assert outcome(*samples, target=Target(ratio_at_most=2.0)).ratio == 2.0


def test_target_holds_only_if_all_its_bounds_do() -> None:
    both = Target(ratio_at_most=2.0, at_most=0.01)
    assert outcome(Sample(0.01, 0.005), target=both).holds
    assert not outcome(Sample(0.02, 0.01), target=both).holds
    assert not outcome(Sample(0.01, 0.004), target=both).holds
    assert not outcome(Sample(0.01), target=Target(ratio_at_most=2.0)).holds
    assert not outcome(Sample(1.0, 2.0), target=Target(ratio_at_least=1.0)).holds


def test_document_keeps_what_stands_around_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(
        "before\n<!-- figures: begin -->\nformer figures\n<!-- figures: end -->\nafter\n"
    )
    measured = outcome(Sample(0.002, 0.001, "a note"), target=Target(ratio_at_most=3.0))
    write(document, [measured], "one machine")
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "former figures" not in text
    assert " | ".join(cells(measured)) in text
    assert "- name: a note." in text
