"""What the acceptance tests share: a stage, a place for what was counted, the mark of long ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.stage import OpenStage, Tell, open_stage


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: takes many minutes; runs only with -m prove")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "prove" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("prove")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def stage_of(database_url: str, redis_url: str, tmp_path: Path) -> OpenStage:
    """`open_stage` on stores of the test's own."""
    return partial(open_stage, database_url, redis_url, tmp_path)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Put a text into the test's report, which a failure shows, and `-rP` always."""

    def add(text: str) -> None:
        request.node.add_report_section("call", "counted", text)

    return add
