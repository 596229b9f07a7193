"""The bare HTTP server as a process of its own, and what a server's process has used."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from src.demo.processes import free_ports
from tests.benchmarks.duel import eventually


@asynccontextmanager
async def open_bare_app(file: Path) -> AsyncIterator[tuple[str, int]]:
    """Serve the file's bytes from one Starlette route; gives the server's URL and process."""
    port = free_ports(1)[0]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.bare_app", str(port), str(file)),
        stdin=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: _listening(port))
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; nan where the system has no /proc."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return math.nan
    user, system = told.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
