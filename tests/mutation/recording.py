"""Which test runs which line, and for how long: one run of the tests under coverage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from coverage import Coverage

MEASURED = ("src/state/*", "src/invalidation/*")


class Touched(msgspec.Struct, frozen=True):
    """One test: the lines of each module that it ran; `servers` when it needs real ones.

    `seconds` are the processor's, which a busy machine does not lengthen.
    """

    id: str
    servers: bool
    seconds: float
    lines: Mapping[str, frozenset[int]]

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]


def record(arguments: Sequence[str], into: Path) -> int:
    """Run pytest and write a list of `Touched`, of those that passed; return its exit code."""
    # Not at the top: `make mutate` alone installs it, and this module's values are read without.
    from coverage import Coverage

    coverage = Coverage(data_file=None, config_file=False, include=MEASURED, messages=False)
    tests = _Tests(coverage)
    coverage.start()
    code = pytest.main([*arguments], [tests])
    coverage.stop()
    into.write_bytes(msgspec.json.encode(tests.touched()))
    return code


class _Tests:
    """Names each test to coverage, its fixtures included."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._seen: dict[str, tuple[bool, float]] = {}
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        began = process_time()
        try:
            return (yield)
        finally:
            needs = item.get_closest_marker("servers") is not None
            self._seen[item.nodeid] = (needs, process_time() - began)
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def touched(self) -> Sequence[Touched]:
        data = self._coverage.get_data()
        lines: dict[str, dict[str, set[int]]] = {id: {} for id in self._seen}
        for file in data.measured_files():
            module = str(Path(file).relative_to(Path.cwd()))
            for line, ids in data.contexts_by_lineno(file).items():
                for id in filter(None, ids):
                    lines[id].setdefault(module, set()).add(line)
        return [
            Touched(id, *seen, {name: frozenset(some) for name, some in lines[id].items()})
            for id, seen in self._seen.items()
            if id not in self._failed
        ]
