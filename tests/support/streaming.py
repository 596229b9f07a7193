"""A long file through a real server, up and down, while its memory is watched from outside."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import msgspec

from tests.support.cluster_processes import open_cluster

_CHUNK = 1 << 20


class Streamed(msgspec.Struct, frozen=True):
    """What it took. Bytes of memory are resident ones of the server's process."""

    size: int
    before_bytes: int
    peak_bytes: int
    """The highest of both ways."""
    up_s: float
    down_s: float
    whole: bool
    """The same bytes came back, under the checksum that the server told."""

    @property
    def grown_bytes(self) -> int:
        return self.peak_bytes - self.before_bytes


async def stream(
    database_url: str, redis_url: str, folder: Path, size: int, settings: Mapping[str, str]
) -> Streamed:
    """Upload a file of that many bytes to one server, and download it."""
    async with open_cluster(database_url, redis_url, folder, settings=settings, count=1) as cluster:
        (server,) = cluster.servers
        headers = {"Authorization": f"Bearer {cluster.token}"}
        timeout = aiohttp.ClientTimeout(total=1200)
        async with aiohttp.ClientSession(server.url, headers=headers, timeout=timeout) as http:
            async with http.post("/api/v1/conversations", json={"id": "c-1"}) as begun:
                begun.raise_for_status()
            # A small one first: what is loaded at first use is not what a file takes.
            await _upload(http, _bytes(_CHUNK))
            _forget_peak(server.pid)
            before = _memory(server.pid, "VmRSS")
            began = time.monotonic()
            sent = hashlib.sha256()
            file = await _upload(http, _hashed(_bytes(size), sent))
            up_s, began = time.monotonic() - began, time.monotonic()
            read = hashlib.sha256()
            async with http.get(f"/api/v1/files/{file['id']}") as answer:
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    read.update(chunk)
            down_s = time.monotonic() - began
            whole = {sent.hexdigest(), read.hexdigest(), file["sha256"]} == {sent.hexdigest()}
            peak = _memory(server.pid, "VmHWM")
    return Streamed(size, before, peak, up_s, down_s, whole and file["bytes"] == size)


async def _upload(http: aiohttp.ClientSession, parts: AsyncIterator[bytes]) -> dict[str, object]:
    async with http.post("/api/v1/files", params={"conversation_id": "c-1"}, data=parts) as answer:
        answer.raise_for_status()
        told: dict[str, object] = await answer.json()
        return told


async def _bytes(size: int) -> AsyncIterator[bytes]:
    """Give bytes of which no two megabytes are the same."""
    for number in range(0, size, _CHUNK):
        yield (number.to_bytes(8, "big") * (_CHUNK // 8))[: size - number]


async def _hashed(parts: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncIterator[bytes]:
    async for part in parts:
        digest.update(part)
        yield part


def _forget_peak(pid: int | None) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int | None, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10
