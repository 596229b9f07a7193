"""A trial's outcome is what its tests said, also of those that never end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.forks import Forks, Trial

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


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "test_some.py").write_text(TESTS)
    return folder


@pytest.fixture(scope="module")
def forks(tree: Path) -> Iterator[Forks]:
    opened = Forks(tree, {"PYTHONPATH": os.fspath(ROOT)}, libraries=())
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("passes", "survived"), ("fails", "killed"), ("spins", "hung"), ("waits", "hung")],
)
def test_outcome_is_that_of_the_chosen_test_alone(forks: Forks, name: str, outcome: str) -> None:
    id = f"test_some.py::test_{name}"
    timeout_s = 2 if name == "waits" else 60
    assert forks.run(Trial(("test_some.py",), (id,), cpu_s=2, timeout_s=timeout_s)) == outcome


def test_text_that_cannot_be_imported_is_noticed(forks: Forks, tree: Path) -> None:
    (tree / "test_broken.py").write_text("import nothing_of_that_name\n")
    assert forks.run(Trial(("test_broken.py",), ("test_broken.py::test_any",))) == "killed"
