from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.api import RunningServer, running_server
from tests.support.nginx import THROUGH_NGINX, in_front_of

FOLDER = Path(__file__).parent
DIRECTLY = "directly"
"""The marker of a test that asks a server by name, with the reason. `pair` needs none: who asks for
it holds one server's answer against the other's."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have each test ask whichever server answers, or say why it asks one by name.

    Through nginx only the former are run: for the others nothing would be different.
    """
    here = [item for item in items if item.path.is_relative_to(FOLDER)]
    named = {item for item in here if "server" not in _asks(item)}
    silent = [
        item.nodeid
        for item in named
        if "pair" not in _asks(item) and not any(mark.args for mark in item.iter_markers(DIRECTLY))
    ]
    if silent:
        raise pytest.UsageError(
            "these ask a server by name; use the fixture `server`, or say why with "
            f"@pytest.mark.{DIRECTLY}(reason): {', '.join(silent)}"
        )
    if THROUGH_NGINX:
        items[:] = [item for item in items if item not in named]
        config.hook.pytest_deselected(items=list(named))


def _asks(item: pytest.Item) -> Collection[str]:
    return getattr(item, "fixturenames", ())


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Settings of `alone` and `server`; a file of tests may have others."""
    (tmp_path / "blobs").mkdir(exist_ok=True)
    # Two servers need one place for files.
    place = (tmp_path / "blobs").as_uri() if THROUGH_NGINX else "memory://"
    return {"state": {"blobs_url": place}}


@pytest.fixture
async def alone(
    database_url: str, redis_url: str, given: dict[str, Any]
) -> AsyncIterator[RunningServer]:
    """One server, for tests marked `directly`."""
    async with running_server(database_url, redis_url, **given) as one:
        yield one


@pytest.fixture
async def server(
    alone: RunningServer,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    given: dict[str, Any],
) -> AsyncIterator[RunningServer]:
    """One server, or two of them behind nginx."""
    if not THROUGH_NGINX:
        yield alone
        return
    async with running_server(database_url, redis_url, **given) as two:
        ports = [urlsplit(server.url).port or 0 for server in (alone, two)]
        with in_front_of(tmp_path, *ports) as url:
            yield RunningServer(alone.app, url, alone.runtime)


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
