"""The command line as a process of its own: its output, its ends, and all that it has started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.demo.processes import free_ports

SWARMSTATE = Path(sys.executable).with_name("swarmstate")
PATIENCE_S = 90.0


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SWARMSTATE, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **settings},
    )


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


class Running:
    """A command that goes on until it is told to stop; its output in a file."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], settings: dict[str, str]) -> None:
        self._file = folder / "output"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                [SWARMSTATE, *arguments],
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, **settings},
            )

    @property
    def output(self) -> str:
        return self._file.read_text()

    def says(self, text: str) -> None:
        until(lambda: text in self.output or self.process.poll() is not None, f"says {text!r}")
        assert text in self.output, self.output

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    command = Running(folder, arguments, settings)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.stop(signal.SIGTERM)


def descendants(pid: int) -> dict[int, str]:
    """Return the command lines of all that a process has started, by pid."""
    told = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    found: dict[int, str] = {}
    for line in told.stdout.splitlines():
        number, _, command = line.strip().partition(" ")
        found |= {int(number): command} | descendants(int(number))
    return found


def pair_of_ports() -> int:
    """Return the first of two neighbouring ports that are free."""
    while True:
        port = free_ports(1)[0]
        try:
            with socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
        return port


def curl(command: str, folder: Path) -> dict[str, Any]:
    """Run a curl line that was printed, as it stands there, in this folder; return the JSON."""
    told = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, cwd=folder, check=False
    )
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer
