"""The real nginx with deploy/nginx.conf, in front of servers on loopback.

Where nginx is not installed the tests that need it are skipped, except in CI. With
`SWARMSTATE_TEST_THROUGH_NGINX` tests that do not care which server answers ask it, too.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.embedded.service import free_port

UPSTREAMS = 2
"""How many servers the file names."""
CONF = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_WITHIN_S = 20
THROUGH_NGINX = bool(os.environ.get("SWARMSTATE_TEST_THROUGH_NGINX"))
"""Have clients ask two servers, round robin, wherever a test names none of them."""

needs_nginx = pytest.mark.skipif(
    NGINX is None and not os.environ.get("CI"), reason="nginx is not installed"
)


def moved(folder: Path, port: int, *upstreams: int) -> Path:
    """Write the file with its addresses and folders replaced, and nothing else."""
    text = CONF.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    for number, upstream in enumerate(upstreams, start=1):
        text = text.replace(f"server-{number}:8080", f"127.0.0.1:{upstream}")
    text = text.replace(" /tmp/", f" {folder}/").replace("/dev/stdout", f"{folder}/access.log")
    conf = folder / "nginx.conf"
    conf.write_text(text)
    return conf


@contextmanager
def running(conf: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    assert NGINX is not None, "install nginx (Debian: apt-get install nginx)"
    # One process, so that round robin counts all requests, and it ends with a signal to it alone.
    command = [NGINX, "-e", "stderr", "-c", str(conf), "-g", "daemon off; master_process off;"]
    # A file: a pipe that nobody reads is full after some two hundred errors, and nginx waits.
    errors = conf.with_name("error.log")
    with errors.open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        deadline = time.monotonic() + START_WITHIN_S
        try:
            while not listens(port):
                assert process.poll() is None, errors.read_text()
                assert time.monotonic() < deadline
            yield process
        finally:
            process.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def in_front_of(folder: Path, *upstreams: int) -> Iterator[str]:
    """Run nginx before servers on these two ports; give its URL. `access.log` is in the folder."""
    port = free_port()
    with running(moved(folder, port, *upstreams), port):
        yield f"http://127.0.0.1:{port}"
