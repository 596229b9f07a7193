"""Which guard keeps which invariant, and the test that shows it: without the guard it breaks.

The table is made of the tests themselves: `without` and `shows` enter each one. `guard_table` is
what the report of the proof prints.
"""

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from src.state.guards import ALL_ON, Guards
from tests.support.clock import VirtualLoop
from tests.support.history import Broken, Violation

Test = TypeVar("Test", bound=Callable[..., Any])
Scenario = Callable[[Guards], Coroutine[Any, Any, Sequence[Violation]]]

FOLDER = Path(__file__).parent


class Row(NamedTuple):
    """One line of the table."""

    guard: str
    """Field of `Guards`."""
    invariant: str
    """What the checker says without it, with the invariants by number."""
    test: str
    """As pytest names it."""


_rows: dict[str, Row] = {}


def without(guard: str, *broken: Broken) -> Callable[[Scenario], Callable[[], None]]:
    """Make a test of a scenario: nothing is found with all guards, `broken` without this one."""

    def make(scenario: Scenario) -> Callable[[], None]:
        def run() -> None:
            kept = _play(scenario, ALL_ON)
            damage = _play(scenario, replace(ALL_ON, **{guard: False}))
            assert not kept, f"with all guards: {list(map(str, kept))}"
            found = {violation.broken for violation in damage}
            assert found >= set(broken), f"without {guard}: {list(map(str, damage))}"

        # Not `functools.wraps`: pytest would take the scenario's argument for a fixture.
        run.__name__ = _enter(guard, scenario, *broken)
        run.__module__, run.__doc__ = scenario.__module__, scenario.__doc__
        return run

    return make


def shows(guard: str, *broken: Broken) -> Callable[[Test], Test]:
    """Enter a test that plays both by itself, on real stores."""

    def enter(test: Test) -> Test:
        _enter(guard, test, *broken)
        return test

    return enter


def _enter(guard: str, test: Callable[..., Any], *broken: Broken) -> str:
    module = test.__module__.rpartition(".")[2]
    name = test.__name__
    path = f"tests/guards/{module}.py::{name}"
    _rows[path] = Row(guard, "; ".join(broken), path)
    return name


def _play(scenario: Scenario, guards: Guards) -> Sequence[Violation]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario(guards))


def guard_table() -> list[Row]:
    """Return (guard, invariant, test) for every guard, in the order of `Guards`."""
    for path in sorted(FOLDER.glob("test_*.py")):
        importlib.import_module(f"tests.guards.{path.stem}")
    order = list(Guards.__dataclass_fields__)
    return sorted(_rows.values(), key=lambda row: (order.index(row.guard), row.test))
