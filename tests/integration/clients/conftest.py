"""Two servers with all that can be asked for, and an administrator's clients of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from swarmstate_client import Client, Patience

from src.api.auth.principals import Role
from tests.support.api import running_server, token

PATIENCE = Patience(pause_s=0.01)
Urls = Sequence[str]


@pytest.fixture
async def urls(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Urls]:
    """Where two servers listen."""
    state = {"blobs_url": tmp_path.as_uri()}
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                running_server(
                    database_url, redis_url, state=state, rate_limits="off", registration="open"
                )
            )
            for _ in range(2)
        ]
        yield [server.url for server in servers]


@pytest.fixture
async def swarm(urls: Urls) -> AsyncIterator[Client]:
    async with Client(urls, token("root", Role.ADMIN), patience=PATIENCE) as client:
        yield client


@pytest.fixture
async def there(urls: Urls) -> AsyncIterator[Client]:
    """The same on the other server."""
    async with Client(urls[1], token("root", Role.ADMIN), patience=PATIENCE) as client:
        yield client
