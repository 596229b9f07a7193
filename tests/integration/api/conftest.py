from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.api import RunningServer, running_server
from tests.support.nginx import THROUGH_NGINX, in_front_of


def _blobs(folder: Path) -> dict[str, str]:
    """Where files go: two servers need one place for them."""
    (folder / "blobs").mkdir(exist_ok=True)
    return {"blobs_url": f"file://{folder}/blobs" if THROUGH_NGINX else "memory://"}


@pytest.fixture
async def alone(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    """One server, for tests that look into it."""
    async with running_server(database_url, redis_url, state=_blobs(tmp_path)) as one:
        yield one


@pytest.fixture
async def server(
    alone: RunningServer, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[RunningServer]:
    """One server, or two of them behind nginx."""
    if not THROUGH_NGINX:
        yield alone
        return
    async with running_server(database_url, redis_url, state=_blobs(tmp_path)) as two:
        ports = [urlsplit(server.url).port or 0 for server in (alone, two)]
        with in_front_of(tmp_path, *ports) as url:
            yield RunningServer(alone.app, url)


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
