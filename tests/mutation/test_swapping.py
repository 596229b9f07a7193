"""A mutant's code takes the place of what is loaded, wherever it hangs."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation.swapping import loaded, swap

TEXT = """\
from functools import wraps

LIMIT = 3

def kept(function):
    @wraps(function)
    def inner(*given):
        return function(*given)
    return inner

class Buffer:
    @property
    def full(self):
        return self.count() >= LIMIT

    @staticmethod
    def count():
        return 2 + 1

@kept
def doubled(n):
    return n * 2
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    (tmp_path / "buffer.py").write_text(TEXT)
    spec = spec_from_file_location("buffer", tmp_path / "buffer.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def swapped(tmp_path: Path, old: str, new: str) -> bool:
    return swap(loaded(tmp_path)["buffer.py"], TEXT.replace(old, new))


def test_methods_properties_and_what_is_decorated_change(
    module: ModuleType, tmp_path: Path
) -> None:
    assert swapped(tmp_path, ">=", ">")
    assert not module.Buffer().full
    assert swapped(tmp_path, "2 + 1", "2 - 1")
    assert module.Buffer.count() == 1
    assert swapped(tmp_path, "n * 2", "n * 3")
    assert module.doubled(5) == 15


def test_what_runs_at_import_is_not_changed_this_way(module: ModuleType, tmp_path: Path) -> None:
    assert not swapped(tmp_path, "LIMIT = 3", "LIMIT = 4")
    assert module.LIMIT == 3
