"""The real livekit-server on loopback, with ports and keys of its own.

`make livekit` builds it; one on PATH does as well. Where there is none the tests that need it are
skipped, except in CI.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from livekit import api
from pydantic import SecretStr

from src.embedded.service import free_port
from src.swarm.rooms.settings import LiveKitSettings

_BUILT = Path(__file__).parents[2] / ".livekit" / "livekit-server"
LIVEKIT = str(_BUILT) if _BUILT.exists() else shutil.which("livekit-server")
KEY = "tests"
SECRET = "the secret of LiveKit in tests, 32 characters at least"
MINUTES = timedelta(minutes=5)
"""How long LiveKit's own signatures are good for."""
START_WITHIN_S = 30

needs_livekit = pytest.mark.skipif(
    LIVEKIT is None and not os.environ.get("CI"),
    reason="there is no livekit-server; `make livekit` builds it",
)


def settings_for(url: str, **changes: object) -> LiveKitSettings:
    """Settings of a server that uses the LiveKit there."""
    given = {"url": url, "api_key": KEY, "api_secret": SecretStr(SECRET), **changes}
    return LiveKitSettings.model_validate(given)


def signature(body: bytes, *, secret: str = SECRET, lifetime: timedelta = MINUTES) -> str:
    """Sign a body as LiveKit signs its webhooks."""
    digest = base64.b64encode(sha256(body).digest()).decode()
    token = api.AccessToken(KEY, secret).with_ttl(lifetime)
    return token.with_sha256(digest).to_jwt()


@contextmanager
def running(folder: Path, port: int, webhook: str | None = None) -> Iterator[str]:
    """Run a server on `port` for the length of the block; give its URL. `webhook` is told."""
    assert LIVEKIT is not None, "CI must run `make livekit`"
    # Three ports, and none of anything that is not loopback's.
    rtc = {"tcp_port": free_port(), "udp_port": free_port(), "use_external_ip": False}
    config = {
        "port": port,
        "keys": {KEY: SECRET},
        "rtc": {**rtc, "interfaces": {"includes": ["lo"]}, "enable_loopback_candidate": True},
        "logging": {"level": "info"},
        "webhook": {"api_key": KEY, "urls": [] if webhook is None else [webhook]},
    }
    file = folder / f"livekit-{port}.json"
    file.write_bytes(msgspec.json.encode(config))
    log = (folder / f"livekit-{port}.log").open("wb")
    command = [LIVEKIT, "--config", str(file), "--bind", "127.0.0.1", "--node-ip", "127.0.0.1"]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        deadline = time.monotonic() + START_WITHIN_S
        try:
            while not _listens(port):
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.02)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
