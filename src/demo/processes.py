"""A server as a process of its own: started, killed, paused and stopped from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from src.demo.errors import PortTaken, ServerEnded
from src.embedded.service import free_port

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("AWS_", "AZURE_")
"""Credentials of a blob store in a cloud ..."""
_KEPT_SUFFIX = "_API_KEY"
"""... and of what bots think, hear and speak with, by the names that its makers gave them."""
_READY_WITHIN_S = 60.0
_POLL_S = 0.05
_STOP_WITHIN_S = 25.0
"""Longer than a server's own deadlines for its last answers and for its drain together."""
_ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """One server. Its standard output and error go to `log`."""

    def __init__(
        self,
        name: str,
        port: int,
        environment: Mapping[str, str],
        log: Path,
        *,
        without: Sequence[str] = (),
        rooms: bool = False,
    ) -> None:
        self.name, self.port, self.log = name, port, log
        self.url = f"http://127.0.0.1:{port}"
        self._environment = environment
        hosting = ["--rooms"] if rooms else []
        self.command = [sys.executable, "-m", "src.demo.server", "--without", *without, *hosting]
        self._process: asyncio.subprocess.Process | None = None
        self.stop_within_s = _STOP_WITHIN_S

    @property
    def pid(self) -> int | None:
        """The process, None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            ServerEnded: it ended, or did not answer in time.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or _is_credential(name)
        }
        own = {
            "SWARMSTATE_API_HOST": "127.0.0.1",
            "SWARMSTATE_API_PORT": str(self.port),
            "SWARMSTATE_SERVER_URL": self.url,
        }
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**kept, **self._environment, **own},
                cwd=_ROOT,
                # Ctrl-C in a terminal reaches the whole group; who started us stops us in order.
                start_new_session=True,
            )
        await self._until_ready()

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_WITHIN_S
        async with aiohttp.ClientSession() as session:
            while True:
                if not self.alive:
                    raise self._failed("ended while it was started")
                if await _answers(session, f"{self.url}/health/ready"):
                    return
                if loop.time() > deadline:
                    raise self._failed(f"is silent for {_READY_WITHIN_S:.0f} s")
                await asyncio.sleep(_POLL_S)

    def _failed(self, why: str) -> ServerEnded:
        return ServerEnded(self.name, why, self.log)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the whole process in its tracks (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Return the exit code once it has ended; negative for a signal."""
        assert self._process is not None, "started before it is waited for"
        return await self._process.wait()

    async def stop(self) -> bool:
        """Have it drain and end; nothing is left on return. Say whether it ended by itself."""
        if self._process is None:
            return True
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), self.stop_within_s) == 0
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return False


def _is_credential(name: str) -> bool:
    ours = name.startswith("SWARMSTATE_")
    return name.startswith(_KEPT_PREFIXES) or (name.endswith(_KEPT_SUFFIX) and not ours)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


def check_port(port: int) -> None:
    """Raises PortTaken unless a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            raise PortTaken(
                f"port {port} is taken ({error.strerror}); stop what listens there, or choose "
                "another with --port"
            ) from error


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, and that no outgoing connection is given."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
