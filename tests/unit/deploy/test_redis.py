"""deploy/redis.conf and the command that starts it, on the Redis or Valkey of this machine."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from ruamel.yaml import YAML

from src.embedded.binaries import find_redis
from src.embedded.service import wait_until
from tests.unit.deploy.names import ROOT

PASSWORD = "c0ffee" * 8
START_WITHIN_S = 20


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """The service of compose.yaml, with its files and port moved to a folder of the test."""
    service = YAML(typ="safe").load(ROOT / "deploy" / "compose.yaml")["services"]["redis"]
    socket = tmp_path / "redis.sock"
    conf = tmp_path / "redis.conf"
    conf.write_text(
        (ROOT / "deploy" / "redis.conf").read_text().replace("dir /data", f"dir {tmp_path}")
        + f"\nport 0\nunixsocket {socket}\n"
    )
    command = (
        service["command"][0]
        .replace("$$", "$")
        .replace("/etc/redis.conf", str(conf))
        .replace("redis-server", str(find_redis().path))
    )
    with (
        (tmp_path / "redis.log").open("wb") as log,
        subprocess.Popen(
            [*service["entrypoint"], command],
            env={"REDISCLI_AUTH": PASSWORD, "PATH": os.environ["PATH"]},
            stdout=log,
        ) as process,
    ):
        try:
            # Not the log's words, which differ between Redis 7.0, its successors and Valkey.
            assert wait_until(socket.exists, START_WITHIN_S), (tmp_path / "redis.log").read_text()
            yield socket
        finally:
            process.kill()


def test_password_is_asked_for_and_what_must_stay_is_never_evicted(socket: Path) -> None:
    with (
        redis.Redis(unix_socket_path=str(socket)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    with redis.Redis(unix_socket_path=str(socket), password=PASSWORD) as client:
        assert client.ping() is True
        expected = {
            "maxmemory-policy": "volatile-lru",
            "maxmemory": str(512 * 1024 * 1024),
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        assert client.config_get(*expected) == expected
