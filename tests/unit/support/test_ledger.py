"""A ledger on disk: what was written is there, whoever reads."""

from __future__ import annotations

from pathlib import Path

from src.state.models import Durability, Version
from tests.support.ledger import (
    Acked,
    Away,
    Died,
    Ledger,
    Posted,
    Refused,
    Seen,
    Unknown,
    Unseen,
    digest,
)

LINES = (
    Posted("c-1", "turn-1", "ada", digest("Größe\n")),
    Acked("c-1", "turn-1", Version(4294967296, 2), True, 3),
    Acked("c-1", "turn-3", Version(1, 2), at=0.5, durability=Durability.BUFFERED),
    Unknown("c-1", "turn-2", 9),
    Refused("c-1", "turn-4", "read_only"),
    Seen("eve", "c-1", Version(1, 2), 0.1, 0.2, "stale; age=1.0", Version(1, 1), 1, "turn-1"),
    Seen("eve", "c-1", Version(1, 2), 0.1, 0.2),
    Unseen("eve", "c-1", 0.1, 0.2, "behind"),
    Died("A", 0.3, ("c-1",)),
    Away(0.1, 0.4, ("c-1", "c-2")),
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
