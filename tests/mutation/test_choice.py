"""The nearest tests first, those of real servers where nothing else runs the line."""

from collections.abc import Sequence

from tests.mutation.choice import PATIENCE_S, Choice
from tests.mutation.recording import Touched

MODULE = "src/state/writes/log.py"
TEXT = """\
LIMIT = 5

def put(count):
    if count:
        return LIMIT
    return 0
"""
OWN = "tests/unit/state/writes/test_log.py::test_own"
BESIDE = "tests/unit/state/writes/test_lane.py::test_beside"
GUARD = "tests/guards/test_append.py::test_guard"
DRIVER = "tests/integration/state/test_tiers.py::test_driver"


def ran(id: str, *lines: int, seconds: float = 0.1, servers: bool = False) -> Touched:
    return Touched(id, servers, seconds, {MODULE: frozenset(lines)} if lines else {})


def chosen(tests: Sequence[Touched], row: int) -> list[tuple[str, ...]]:
    return [trial.ids for trial in Choice(MODULE, TEXT, tests).trials(row)]


def test_only_what_runs_the_line_is_run_and_the_nearest_alone_at_first() -> None:
    tests = [ran(GUARD, 4, 5), ran(BESIDE, 4), ran(OWN, 4, 5)]
    assert chosen(tests, 5) == [(OWN,), (GUARD,)]
    assert chosen(tests, 4) == [(OWN,), (BESIDE, GUARD)]


def test_what_no_test_runs_is_not_tried() -> None:
    assert chosen([ran(OWN, 4)], 6) == []


def test_real_servers_are_asked_about_what_nothing_else_runs() -> None:
    tests = [ran(OWN, 4), ran(DRIVER, 4, 6, servers=True)]
    assert chosen(tests, 4) == [(OWN,)]
    assert chosen(tests, 6) == [(DRIVER,)]


def test_what_runs_at_import_is_for_the_folder_and_for_who_calls_the_module() -> None:
    tests = [ran(GUARD, 4), ran(BESIDE), ran("tests/guards/test_reads.py::test_none")]
    assert chosen(tests, 1) == [(BESIDE,), (GUARD,)]


def test_the_farther_ones_are_run_for_a_while_the_shortest_first() -> None:
    slow = ran(GUARD + "_slow", 4, seconds=PATIENCE_S)
    quick = ran(GUARD, 4, seconds=0.2)
    assert chosen([slow, quick], 4) == [(GUARD,)]
