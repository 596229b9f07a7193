"""The demonstration, run as a person runs it: all promises kept, and each guard missed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Timings matter to what is shown: these never run beside each other.
pytestmark = pytest.mark.xdist_group("demo")

SWARMSTATE = Path(sys.executable).with_name("swarmstate")
PATIENCE_S = 240


def demo(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Return exit code and what was told: a JSON object and nothing else."""
    ran = subprocess.run(
        [SWARMSTATE, "demo", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def broken(told: dict[str, Any]) -> dict[int, str]:
    return {one["number"]: one["found"] for one in told["promises"] if not one["kept"]}


def test_every_promise_is_kept_and_counted_from_outside(tmp_path: Path) -> None:
    turns = [
        {"speaker": "Grad A", "text": "Ada, which date?"},
        {"speaker": "Grad B", "text": "Decided ."},
        {"speaker": "Grad A", "text": "Not played."},
    ]
    meeting = tmp_path / "meeting.json"
    meeting.write_text(json.dumps({"meeting": "Short", "domain": "test", "turns": turns}))
    code, told = demo("--meeting", str(meeting), "--turns", "2")
    assert broken(told) == {}
    assert (code, told["kept"]) == (0, True)
    assert [one["number"] for one in told["promises"]] == [1, 2, 3, 4, 5, 6, 7]
    figures = told["figures"]
    assert (figures["turns"], figures["bot_replies"]) == (2, 2)
    assert figures["snapshot_writes"] == 1
    assert figures["in_flight_at_kill"] >= 20
    assert figures["logged_unacked_at_kill"] >= 1
    tiers = figures["tiers"]
    assert (tiers["L1"]["database_reads"], tiers["L1"]["redis_commands"]) == (0, 0)
    assert (tiers["L2"]["database_reads"], tiers["L2"]["redis_commands"]) == (0, 10)
    assert tiers["L3"]["database_reads"] == tiers["L3"]["reads"]


@pytest.mark.parametrize(
    ("guard", "promise", "sign"),
    [
        ("flush", 4, "never flushed"),
        ("announce", 2, "answers as fresh without the turn"),
        ("watermark", 2, "answers as fresh without the turn"),
        ("epoch", 6, "late event"),
        # A hole in the history, or at its end: then nobody can take the conversation up again.
        ("whole", 7, r"faults|no server acknowledged"),
    ],
)
def test_without_a_guard_its_promise_is_broken_and_named(
    guard: str, promise: int, sign: str
) -> None:
    code, told = demo("--sabotage", guard)
    assert (code, told["kept"]) == (1, False)
    found = broken(told)
    assert list(found) == [promise]
    assert re.search(sign, found[promise])
    assert not found[promise].startswith("0 ")
