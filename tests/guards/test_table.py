"""No guard without a test that misses it."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from src.state.guards import Guards
from tests.guards.table import Row, guard_table

ROOT = Path(__file__).parents[2]


def test_every_guard_has_a_test_that_fails_without_it() -> None:
    assert {row.guard for row in guard_table()} == {field.name for field in fields(Guards)}


@pytest.mark.parametrize("row", guard_table(), ids=lambda row: row.guard)
def test_table_names_tests_and_invariants_that_there_are(row: Row) -> None:
    path, _, name = row.test.partition("::")
    assert (ROOT / path).is_file()
    assert callable(getattr(import_module(f"tests.guards.{Path(path).stem}"), name))
    assert "(I" in row.invariant
