"""docs/mutation.md: per module how many mutants lived, and each survivor with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.mutation.reasons import Reason, Survivor, reason_for
from tests.mutation.session import Session

_HEAD = """\
# Mutation testing

`make mutate` changes `src/state` and `src/invalidation` one small step at a time (a comparison
turned round, a number one higher, a loop that does nothing, a condition negated, an `except` that
catches nothing) and runs on each mutant the tests that run its line: one recording of all tests
under coverage says which. The tests of the module's own file (of its folder, where it has none)
come first, then the others, the shortest first, for four seconds of processor time. What runs at
import (constants, fields) is tried by the tests of the module's folder and by those that call the
module.

A line that no hermetic test runs, such as those of the drivers of PostgreSQL and Redis, is tried by
the tests on real servers that run it; one that they do not run either has survived. A mutant that
lives is a line that no test holds, unless the change makes no difference: every survivor needs a
reason in `tests/mutation/survivors.toml`.

| module | mutants | tried | survived | without a reason |
| --- | --- | --- | --- | --- |
"""


def write(document: Path, sessions: Sequence[Session], reasons: Sequence[Reason]) -> list[Survivor]:
    """Write the report; return the survivors that nobody explained."""
    rows, listed, unexplained = [], [], []
    for session in sessions:
        if not len(session):
            continue
        survivors = session.survivors()
        open_ones = [one for one in survivors if reason_for(one, reasons) is None]
        unexplained += open_ones
        rows.append(
            f"| {session.module} | {len(session)} | {session.done} | {len(survivors)} "
            f"| {len(open_ones)} |\n"
        )
        listed += [
            f"| `{one.module}` | `{_cell(one.line)}` | {one.operator.removeprefix('core/')} "
            f"| {reason_for(one, reasons) or 'none yet'} |\n"
            for one in survivors
        ]
    table = "\n## Survivors\n\n| module | line | change | reason |\n| --- | --- | --- | --- |\n"
    document.write_text(_HEAD + "".join(rows) + table + "".join(listed), encoding="utf-8")
    return unexplained


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
