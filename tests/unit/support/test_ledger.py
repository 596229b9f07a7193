"""A ledger on disk: what was written is there, whoever reads."""

from __future__ import annotations

from pathlib import Path

from src.state.models import Version
from tests.support.ledger import Acked, Ledger, Posted, Unknown, digest

LINES = (
    Posted("c-1", "turn-1", "ada", digest("Größe\n")),
    Acked("c-1", "turn-1", Version(4294967296, 2), True, 3),
    Unknown("c-1", "turn-2", 9),
)


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        for line in LINES:
            ledger.write(line)
        assert ledger.read() == LINES


def test_a_line_is_on_disk_before_the_ledger_is_closed(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.write(LINES[0])
        assert (tmp_path / "ledger").read_bytes().endswith(b"\n")


def test_a_ledger_is_only_added_to(tmp_path: Path) -> None:
    for line in LINES:
        with Ledger(tmp_path / "ledger") as ledger:
            ledger.write(line)
            last = ledger.read()
    assert last == LINES
