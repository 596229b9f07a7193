"""A small load generator: 64 connections kept alive, each asking again as soon as it is answered.

Used where wrk is not on PATH, for both sides of a row. A process of its own, so that it takes no
time of the server's loop: `python -m tests.benchmarks.load URL TOKEN SECONDS` prints requests/s.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

CONNECTIONS = 64
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._missing = 0
        self._head = b""
        self.answered = 0
        self.refused = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            found = _LENGTH.search(data, 0, end + 2)
            assert found is not None, "an answer without a length"
            self._missing = int(found[1]) - (len(data) - end - 4)
            self.refused += not data.startswith(b"HTTP/1.1 200")
        if self._missing == 0 and self._transport is not None:
            self.answered += 1
            self._transport.write(self._request)


async def _drive(url: str, token: str, seconds: float) -> float:
    place = urlsplit(url)
    request = (
        f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(
            lambda: _Client(request), place.hostname or "", place.port or 80
        )
        clients.append(client)
    await asyncio.sleep(0.2)
    before, began = sum(client.answered for client in clients), perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.answered for client in clients) - before) / (perf_counter() - began)
    if rate == 0 or any(client.refused for client in clients):
        raise RuntimeError(f"{url} did not answer with 200 each time")
    return rate


async def requests_per_second(url: str, token: str, seconds: float) -> float:
    """Load an URL from another process and return its rate.

    Raises:
        RuntimeError: the generator failed, or the answers were not 200.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        command = [sys.executable, "-m", "tests.benchmarks.load", url, token, str(seconds)]
        pattern = rb"([\d.]+)"
    else:
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
        command += ["-H", f"Authorization: Bearer {token}", url]
        pattern = rb"Requests/sec:\s+([\d.]+)"
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, failure = await process.communicate()
    found = re.search(pattern, told)
    if process.returncode or found is None or b"Non-2xx" in told:
        raise RuntimeError(f"{command[0]} failed: {(told + failure).decode()[-500:]}")
    return float(found[1])


if __name__ == "__main__":
    print(uvloop.run(_drive(sys.argv[1], sys.argv[2], float(sys.argv[3]))))  # noqa: T201
