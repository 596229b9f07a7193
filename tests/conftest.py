"""Fixtures of every test: the pair of servers, a database and a Redis number of one's own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from src.embedded import EmbeddedError, Servers
from src.embedded.binaries import find_postgres, find_redis
from src.embedded.service import free_port
from src.swarm.rooms.settings import LiveKitSettings
from tests.support.blob_stores import azure_server, s3_server
from tests.support.livekit import running as livekit_running
from tests.support.livekit import settings_for
from tests.support.services import Databases, RedisNumbers, open_test_servers, server_folder

# A developer's own settings must not decide what a test sees.
for name in list(os.environ):
    if name.startswith("SWARMSTATE_") and not name.startswith(
        ("SWARMSTATE_EMBEDDED_", "SWARMSTATE_TEST_")
    ):
        del os.environ[name]

# LiveKit's native library ends its process when it panics, and what a room leaves behind in it can
# be another one's end: tests of rooms and calls run in processes of their own (the door `test`).
if "PYTEST_XDIST_WORKER" in os.environ:
    collect_ignore_glob = [
        "integration/agents",
        "integration/api/test_live_sound.py",
        "integration/api/test_telephony.py",
        "unit/agents/test_sound.py",
        "acceptance/test_voice_*.py",
    ]

# How long an example takes is the machine's business.
hypothesis_settings.register_profile("swarmstate", deadline=None)
hypothesis_settings.load_profile("swarmstate")

TESTS = Path(__file__).parent
WITH_SERVERS = (TESTS / "integration", TESTS / "acceptance")


def pytest_report_header() -> list[str]:
    try:
        return [f"servers: {find_postgres()}, {find_redis()}"]
    except EmbeddedError as error:
        return [f"servers: {error}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        uses = getattr(item, "fixturenames", ())
        if "servers" in uses or any(item.path.is_relative_to(folder) for folder in WITH_SERVERS):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis; a test may kill either, the next test finds it running again."""
    with server_folder() as folder, open_test_servers(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[Databases]:
    opened = Databases(servers.database_url)
    yield opened
    revive(servers)
    opened.close()


@pytest.fixture(scope="session")
def redis_numbers(servers: Servers) -> RedisNumbers:
    return RedisNumbers(servers.redis_url)


@pytest.fixture(scope="session")
def livekit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKitSettings]:
    """A LiveKit server that tells nobody; a test takes rooms of its own there."""
    with livekit_running(tmp_path_factory.mktemp("livekit"), free_port()) as url:
        yield settings_for(url)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azure_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azure_server(tmp_path_factory.mktemp("azure")) as endpoint:
        yield endpoint


@pytest.fixture
def database_url(servers: Servers, databases: Databases) -> Iterator[str]:
    """A migrated database without rows, dropped after the test."""
    revive(servers)
    url = databases.create()
    yield url
    revive(servers)
    databases.drop(url)


@pytest.fixture
def redis_url(servers: Servers, redis_numbers: RedisNumbers) -> str:
    """An empty logical database of Redis."""
    revive(servers)
    return redis_numbers.take()


def revive(servers: Servers) -> None:
    """Bring back what a test has killed."""
    if "SWARMSTATE_TEST_DATABASE_URL" not in os.environ:
        servers.start_postgres()
    if "SWARMSTATE_TEST_REDIS_URL" not in os.environ:
        servers.start_redis()
