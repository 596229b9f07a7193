"""Which tests could notice a mutant: those that run its line, the nearest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from tests.mutation.places import lines_of, lines_of_functions
from tests.mutation.recording import Touched
from tests.mutation.trial import Trial

NEAR = {
    "src/state/settings.py": ("tests/unit/deploy/test_settings.py",),
    "src/state/tiers/tables.py": ("tests/migration/test_migrations.py",),
    "src/state/tiers/redis_rates.py": ("tests/integration/state/test_rates.py",),
}
"""Tests that hold a module and stand neither at its path nor in its folder's."""
PATIENCE_S = 4.0
"""How much of the farther tests is run on one mutant, the shortest first, by the processor's time
that they take without one. The nearest all run."""


class Choice:
    """Chooses for the mutants of one module."""

    def __init__(self, module: str, text: str, tests: Sequence[Touched]) -> None:
        self._text, self._module = text, module
        self._near, self._floor = _near(module), _floor(module)
        self._by_line: dict[int, list[Touched]] = {}
        for test in tests:
            for line in test.lines.get(module, ()):
                self._by_line.setdefault(line, []).append(test)
        self._of_folder = [one for one in tests if self._rank(one) < 2]

    def trials(self, row: int) -> Iterator[Trial]:
        """Yield pytest runs for a mutant on that row; none when no test runs its line."""
        chosen = self._tests(row)
        # Without a file of its own, a module is held by its folder's.
        nearest = min([1, *map(self._rank, chosen)])
        near = [one for one in chosen if self._rank(one) == nearest]
        far = [one for one in chosen if self._rank(one) > nearest]
        for tests in (near, list(_within(PATIENCE_S, far))):
            if tests:
                yield _trial(tests)

    def _tests(self, row: int) -> list[Touched]:
        lines = lines_of(self._text, row)
        if lines is None:
            found = self._of_folder + self._running(lines_of_functions(self._text))
        else:
            found = self._running(lines)
        # Real servers are asked about what nothing else runs: how the drivers speak to them.
        unique = {one.id: one for one in found if not one.servers} or {one.id: one for one in found}
        near = {one.id: one for one in found if self._rank(one) == 0}
        return sorted((unique | near).values(), key=lambda one: (self._rank(one), one.seconds))

    def _running(self, lines: Iterable[int]) -> list[Touched]:
        return [test for line in lines for test in self._by_line.get(line, ())]

    def _rank(self, test: Touched) -> int:
        if test.file in self._near:
            return 0
        return 1 if str(PurePosixPath(test.file).parent) == self._floor else 2


def _near(module: str) -> tuple[str, ...]:
    path = PurePosixPath("tests/unit") / PurePosixPath(module).relative_to("src")
    return (str(path.with_name(f"test_{path.name}")), *NEAR.get(module, ()))


def _floor(module: str) -> str:
    return str((PurePosixPath("tests/unit") / PurePosixPath(module).relative_to("src")).parent)


def _within(seconds: float, tests: Iterable[Touched]) -> Iterator[Touched]:
    for test in tests:
        seconds -= test.seconds
        if seconds < 0:
            return
        yield test


def _trial(tests: Sequence[Touched]) -> Trial:
    """A spinning mutant is ended by its processor's time, one that waits by the clock."""
    usual_s = sum(one.seconds for one in tests)
    return Trial(
        files=tuple(dict.fromkeys(one.file for one in tests)),
        ids=tuple(one.id for one in tests),
        cpu_s=int(4 + 1.5 * usual_s),
        timeout_s=40 + 4 * usual_s,
    )
