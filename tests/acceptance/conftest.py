"""What the acceptance tests share: a stage, and a place for what was counted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from src.embedded import Servers
from tests.support.stage import OpenStage, Tell, open_stage


@pytest.fixture
def stage_of(database_url: str, redis_url: str, tmp_path: Path, servers: Servers) -> OpenStage:
    """`open_stage` on a database and a Redis number of the test's own; it may kill both servers."""
    return partial(open_stage, database_url, redis_url, tmp_path, stores=servers)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Put a text into the test's report, which a failure shows, and `-rP` always."""

    def add(text: str) -> None:
        request.node.add_report_section("call", "counted", text)

    return add
