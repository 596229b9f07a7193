"""One pytest run on one mutant, and the process that is asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

UNCHANGED = "unchanged"


class Trial(msgspec.Struct, frozen=True):
    """Of the tests with these ids alone and in this order, which stand in `files`.

    `module` is to have `text`, where what is tried is loaded already. `log` is where pytest's
    output goes, nowhere when empty; `record` where to write which test ran which line. Without ids
    all tests run, and bytecode is kept for the trials to come.
    """

    files: tuple[str, ...]
    ids: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    cpu_s: int = 3600
    timeout_s: float = 3600
    module: str = ""
    text: str = ""
    log: str = ""
    record: str = ""


class Forks:
    """A process in a tree that forks a child per trial (`tests.mutation.forks`).

    `collect` names what it loads beforehand: its trials swap code. Without, its trials import what
    stands in the tree.
    """

    def __init__(
        self, tree: Path, environment: Mapping[str, str], collect: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.forks", *collect],
            cwd=tree,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, trial: Trial) -> str:
        """Return `survived`, `killed` or `hung`: whatever is not a pass has noticed the mutant.

        `unchanged` when no loaded function has other code in the mutant.

        Raises:
            EOFError: the process is gone.
        """
        requests, outcomes = self._process.stdin, self._process.stdout
        assert requests is not None
        assert outcomes is not None
        requests.write(msgspec.json.encode(trial) + b"\n")
        requests.flush()
        outcome = outcomes.readline().decode().strip()
        if not outcome:
            raise EOFError("the forking process ended; its error stands above")
        return outcome

    def close(self) -> None:
        # Leaving the block closes both pipes; no more requests end the process.
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
