"""Keeps a server process running: whatever ends is started anew."""

from __future__ import annotations

import asyncio
from typing import Protocol

from src.demo.errors import ServerEnded
from src.demo.processes import ServerProcess

_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_LIVED_S = 30.0
"""A server that lived this long is restarted without a pause that has grown."""


class Witness(Protocol):
    """Hears what becomes of servers that are kept."""

    def died(self, server: ServerProcess, code: int) -> None:
        """It ended with this exit code, negative for a signal, and is started anew."""

    def failed(self, server: ServerProcess, error: ServerEnded) -> None:
        """It did not come up."""

    def returned(self, server: ServerProcess) -> None:
        """It answers again."""


async def keep(server: ServerProcess, witness: Witness) -> None:
    """Start the server anew whenever it ends, less eagerly if it ends at once."""
    loop = asyncio.get_running_loop()
    pause_s, started = _PAUSE_S, loop.time()
    while True:
        code = await server.ended()
        lived_s = loop.time() - started
        pause_s = _PAUSE_S if lived_s > _LIVED_S else min(2 * pause_s, _LONGEST_PAUSE_S)
        witness.died(server, code)
        await asyncio.sleep(pause_s)
        started = loop.time()
        try:
            await server.start()
        except ServerEnded as error:
            witness.failed(server, error)
        else:
            witness.returned(server)
