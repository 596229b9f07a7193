"""Places for blobs: memory, a folder, and the servers that speak S3 and Azure on loopback.

Each server is one process per pytest process; each test has a bucket or container of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest

from src.embedded.service import free_port
from src.state.records.blobs import Blobs, open_blobs

AZURITE = Path(__file__).parents[1] / "azurite"
_UP_WITHIN_S = 30.0
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The account that every Azure emulator has, as its documentation says."""
_API = "2021-08-06"


class Address(NamedTuple):
    """Where blobs are, and the environment in which the library finds its way there."""

    url: str
    environment: Mapping[str, str]


class BlobPlace(ABC):
    """Blobs, and what of unfinished ones is left in their store."""

    def __init__(self, address: Address) -> None:
        self.address = address
        with environment(address.environment):
            self.blobs: Blobs = open_blobs(address.url)

    @abstractmethod
    def leftovers(self) -> Sequence[str]:
        """Return what is kept of uploads that never ended."""


class InMemory(BlobPlace):
    def leftovers(self) -> Sequence[str]:
        return []


class InFolder(BlobPlace):
    def leftovers(self) -> Sequence[str]:
        folder = Path(self.address.url.removeprefix("file://"))
        return [path.name for path in folder.rglob("*") if path.is_file() and "#" in path.name]


class InS3(BlobPlace):
    def leftovers(self) -> Sequence[str]:
        endpoint, bucket = self.address.environment["AWS_ENDPOINT"], self.address.url[5:-2]
        listed = ask("GET", f"{endpoint}/{bucket}?uploads")
        return re.findall(r"<Key>(.*?)</Key>", listed.decode())


class InAzure(BlobPlace):
    def leftovers(self) -> Sequence[str]:
        # Azure has no abort: it forgets parts that were never made a blob after a week.
        return []


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the length of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def s3_bucket(endpoint: str, name: str) -> Address:
    """Make a bucket and say how it is reached."""
    ask("PUT", f"{endpoint}/{name}")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    where = {"AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
    return Address(f"s3://{name}/p", {**keys, **where})


def azure_container(endpoint: str, name: str) -> Address:
    """Make a container and say how it is reached."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _API}
    resource = f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    told = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
    signed = hmac.digest(
        base64.b64decode(_ACCOUNT_KEY),
        f"PUT{chr(10) * 12}{told}{resource}".encode(),
        hashlib.sha256,
    )
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(signed).decode()}"
    ask("PUT", f"{endpoint}/{_ACCOUNT}/{name}?restype=container", headers)
    where = {
        "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": endpoint,
    }
    return Address(f"az://{name}/p", where)


def in_cloud(cloud: str, endpoint: str, folder: Path) -> BlobPlace:
    """Make a bucket or container for the test that has this folder; `s3` or `azure`."""
    name = f"b{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if cloud == "s3":
        return InS3(s3_bucket(endpoint, name))
    return InAzure(azure_container(endpoint, name))


def ask(method: str, url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Send one request to a server of this file."""
    request = urllib.request.Request(url, method=method, headers=dict(headers or {}))
    request.add_header("Content-Length", "0")
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        return body


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto's S3 and give its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder / "s3.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def azure_server(folder: Path) -> Iterator[str]:
    """Run Azurite and give its address; without it the test is left out, in CI it fails."""
    program, node = AZURITE / "node_modules/azurite/dist/src/blob/main.js", shutil.which("node")
    if node is None or not program.exists():
        message = "Azurite is not here: install Node.js >= 20 with npm, then `make azurite`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    with running([node, str(program), *options, *quiet], port, folder / "azurite.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the end of the block; it is up when its port takes connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        began = time.monotonic()
        while not answers(port):
            if process.poll() is not None or time.monotonic() - began > _UP_WITHIN_S:
                raise RuntimeError(f"{command[0]} did not come up: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def answers(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0
