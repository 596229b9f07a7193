"""Logs: one line each, and never more of an error than where it happened."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILING = """
import io, logging, sys
import structlog
from src.api.logs import configure_logs

class Screen(io.StringIO):
    def isatty(self):
        return SEEN

sys.stderr = Screen()
configure_logs()

def connect(password):
    raise OSError("no route")

for tell in (structlog.get_logger("ours").exception, logging.getLogger("theirs").exception):
    try:
        connect("hun" + "ter2")
    except OSError:
        tell("it.failed")
sys.stdout.write(sys.stderr.getvalue())
"""


@pytest.mark.parametrize("seen", [True, False], ids=["screen", "file"])
def test_a_trace_has_no_local_variables(seen: bool) -> None:
    # In a process of its own: the configuration is the process's.
    program = FAILING.replace("SEEN", str(seen))
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert told.count("it.failed") == 2
    assert told.count("no route") >= 2
    assert "hunter2" not in told
