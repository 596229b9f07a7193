"""Starts one server of a data folder, and brings it back on the same port."""

import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from src.embedded.errors import DataDirBusy, StartFailed
from src.embedded.process import POLL_S, Order, Program, held

# Below every system's range for outgoing connections: a client that keeps calling a dead server
# there may be given the server's own port, connect to itself, and hold the port for as long as it
# likes.
PORTS = range(20_000, 30_000)
PORT_ATTEMPTS = 5
START_PATIENCE_S = 60.0
LEFTOVER_PATIENCE_S = 30.0
"""How long the server of a killed process may take to end; its warden needs less."""


class Recipe(Protocol):
    """What is particular to one kind of server."""

    name: str
    """Lower case; names the folder, the log and the lock."""

    @property
    def program(self) -> str:
        """Name, version and origin, for people."""

    def url(self, port: int) -> str:
        """Return where clients find the server, its password included."""

    def prepare(self) -> None:
        """Make the server's folder ready for a start; called while nothing runs in it."""

    def order(self, port: int, log: Path) -> Order:
        """Return how to start the server on this loopback port."""

    def ready(self, pid: int, port: int) -> bool:
        """Whether the server with this pid answers now; a "not yet" never raises."""


class Service:
    """One server, stopped or running; the first start chooses its port, which it then keeps."""

    def __init__(self, recipe: Recipe, data_dir: Path) -> None:
        self._recipe = recipe
        self._data_dir = data_dir
        self._log = data_dir / f"{recipe.name}.log"
        self._program: Program | None = None
        self.port: int | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, None while it does not run."""
        return self._program.pid if self._program and self._program.alive else None

    def start(self) -> int:
        """Start the server if it does not run; return its port once it answers.

        Raises:
            StartFailed: it ended, or stayed silent for 60 s.
            DataDirBusy: a server of an earlier run does not go away.
        """
        if not self.pid:
            self._program, self.port = self._start_on_a_port()
        assert self.port is not None
        return self.port

    def stop(self) -> None:
        """Shut the server down cleanly."""
        if self._program:
            self._program.stop()
            self._program = None

    def kill(self) -> None:
        """End the server as a crash would: SIGKILL, no farewell."""
        if self._program:
            self._program.signal(signal.SIGKILL)
            self._program.wait()
            self._program = None

    def _start_on_a_port(self) -> tuple[Program, int]:
        if self.port is not None:
            return self._start(self.port), self.port
        for _ in range(PORT_ATTEMPTS - 1):
            port = free_port()
            try:
                return self._start(port), port
            except StartFailed:
                # Somebody may have taken the port between our look and the server's bind.
                if is_free(port):
                    raise
        port = free_port()
        return self._start(port), port

    def _start(self, port: int) -> Program:
        lock = self._data_dir / f"{self._recipe.name}.lock"
        try:
            with held(lock, LEFTOVER_PATIENCE_S) as descriptor:
                if self._log.exists():
                    self._log.replace(self._log.with_suffix(".log.1"))
                self._recipe.prepare()
                program = Program(self._recipe.order(port, self._log), descriptor)
        except TimeoutError as error:
            raise DataDirBusy(self._data_dir, None) from error
        try:
            self._wait_until_ready(program, port)
        except BaseException:
            program.stop()
            raise
        return program

    def _wait_until_ready(self, program: Program, port: int) -> None:
        def check() -> bool:
            if not program.alive:
                code = program.wait()
                raise StartFailed(f"{self._recipe.name} ended with exit code {code}", self._log)
            return self._recipe.ready(program.pid, port)

        if not wait_until(check, START_PATIENCE_S):
            silent = f"{self._recipe.name} did not answer within {START_PATIENCE_S:.0f} s"
            raise StartFailed(silent, self._log)


def wait_until(check: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    while True:
        port = random.choice(PORTS)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as media:
        # As the servers do: a port in TIME_WAIT counts as free, one that is listened on does not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            media.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
