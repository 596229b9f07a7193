from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.api import RunningServer, running_server


@pytest.fixture
async def server(database_url: str, redis_url: str) -> AsyncIterator[RunningServer]:
    state = {"blobs_url": "memory://"}
    async with running_server(database_url, redis_url, state=state) as one:
        yield one


@pytest.fixture
async def pair(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    """Two servers on the same stores."""
    async with (
        running_server(database_url, redis_url) as one,
        running_server(database_url, redis_url) as two,
    ):
        yield one, two
