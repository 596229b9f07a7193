"""A trial's outcome is what its tests said, also of those that never end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.trial import UNCHANGED, Forks, Trial

ROOT = Path(__file__).parents[2]
TESTS = """\
import threading

def test_passes():
    pass

def test_fails():
    assert False

def test_spins():
    while True:
        pass

def test_waits():
    threading.Event().wait()
"""


CODE = """\
LIMIT = 3

def low(n):
    return n < LIMIT
"""
TESTS_OF_CODE = """\
import code_under_test

def test_three_is_not_low():
    assert not code_under_test.low(3)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "test_some.py").write_text(TESTS)
    (folder / "code_under_test.py").write_text(CODE)
    (folder / "test_code.py").write_text(TESTS_OF_CODE)
    return folder


@pytest.fixture(scope="module")
def environment(tree: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(os.fspath, (ROOT, tree)))}


@pytest.fixture(scope="module")
def fresh(tree: Path, environment: dict[str, str]) -> Iterator[Forks]:
    opened = Forks(tree, environment)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def with_all_loaded(tree: Path, environment: dict[str, str]) -> Iterator[Forks]:
    opened = Forks(tree, environment, ("test_some.py", "test_code.py"))
    yield opened
    opened.close()


def trial(name: str, old: str = "<", new: str = "<=", file: str = "test_some.py") -> Trial:
    text = CODE.replace(old, new)
    id = f"{file}::test_{name}"
    timeout_s = 2 if name == "waits" else 60
    return Trial((file,), (id,), (), 1, timeout_s, "code_under_test.py", text)


@pytest.mark.parametrize("way", ["fresh", "with_all_loaded"])
@pytest.mark.parametrize(
    ("name", "outcome"),
    [("passes", "survived"), ("fails", "killed"), ("spins", "hung"), ("waits", "hung")],
)
def test_outcome_is_that_of_the_chosen_test_alone(
    way: str, name: str, outcome: str, request: pytest.FixtureRequest
) -> None:
    forks: Forks = request.getfixturevalue(way)
    assert forks.run(trial(name)) == outcome


def test_text_that_cannot_be_imported_is_noticed(fresh: Forks, tree: Path) -> None:
    (tree / "test_broken.py").write_text("import nothing_of_that_name\n")
    assert fresh.run(Trial(("test_broken.py",), ("test_broken.py::test_any",))) == "killed"


def test_each_mutant_is_tried_on_the_code_as_it_was(with_all_loaded: Forks) -> None:
    name, file = "three_is_not_low", "test_code.py"
    assert with_all_loaded.run(trial(name, "<", "<=", file)) == "killed"
    assert with_all_loaded.run(trial(name, "n < LIMIT", "LIMIT > n", file)) == "survived"


def test_what_runs_at_import_is_said_to_change_nothing_here(with_all_loaded: Forks) -> None:
    assert with_all_loaded.run(trial("passes", "LIMIT = 3", "LIMIT = 4")) == UNCHANGED
