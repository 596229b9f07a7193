"""Programs that end with the process that started them.

Each one is started through a warden (warden.py), a small process that holds one end of a pipe. A
program can also hold a lock: the kernel hands it on to every process the program forks and frees
it with the last of them, so a free lock means that nothing of an earlier run is left, whatever
killed it.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from msgspec import Struct
from msgspec.structs import asdict

from src.embedded.errors import StartFailed

WARDEN = Path(__file__).with_name("warden.py")
POLL_S = 0.01
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
"""All that a program sees of our environment: PGDATA, LANG and the like would change it."""


class Identity(Struct, frozen=True, gc=False):
    """Who runs a program; see `become` in warden.py for the kinds."""

    kind: Literal["self", "namespace", "user"] = "self"
    uid: int = -1
    gid: int = -1


SELF = Identity()


class Order(Struct, frozen=True, gc=False):
    """What a warden is told."""

    command: tuple[str, ...]
    folder: Path
    log: Path
    """Both outputs are appended here."""
    stop: tuple[tuple[int, float], ...]
    """Signals with the seconds of patience after each; SIGKILL follows the last."""
    identity: Identity = SELF
    input: str = ""

    def as_json(self, keep: Sequence[int]) -> str:
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        return json.dumps(
            {
                "command": self.command,
                "folder": str(self.folder),
                "log": str(self.log),
                "stop": self.stop,
                "identity": asdict(self.identity),
                "input": self.input,
                "environment": {**kept, "LC_ALL": "C"},
                "keep": list(keep),
            }
        )


class Program:
    """A running program and its warden."""

    def __init__(self, order: Order, lock: int | None = None) -> None:
        """Start the program; `lock` is an open lock file that the program shall hold, see `held`.

        Raises:
            StartFailed: the warden could not take the identity or start the program.
        """
        keep = [] if lock is None else [lock]
        self._patience_s = sum(patience_s for _, patience_s in order.stop) + 5.0
        with order.log.open("ab") as log:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WARDEN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=keep,
                # Ctrl-C in a terminal reaches the whole group: the servers must outlive our own
                # drain.
                start_new_session=True,
            )
        lifeline = _stream(self._warden.stdin)
        lifeline.write(order.as_json(keep).encode() + b"\n")
        lifeline.flush()
        line = _stream(self._warden.stdout).readline()
        if not line.strip():
            self.wait()
            raise StartFailed(f"{order.command[0]} could not be started", order.log)
        self.pid = int(line)

    @property
    def alive(self) -> bool:
        return self._warden.poll() is None

    def wait(self) -> int:
        """Return the exit code once the program has ended: 128 + signal for a killed one."""
        code = self._warden.wait()
        self._close()
        return code

    def stop(self) -> None:
        """End the program politely, then less so; nothing is left on return."""
        _stream(self._warden.stdin).close()
        try:
            self._warden.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self.signal(9)
            self._warden.kill()
        self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the program itself, if there is still one."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def _close(self) -> None:
        for stream in (self._warden.stdin, self._warden.stdout):
            _stream(stream).close()


def run(order: Order) -> str:
    """Run a program to its end and return what it wrote; its log is emptied first.

    Raises:
        StartFailed: the exit code is not 0.
    """
    order.log.write_bytes(b"")
    code = Program(order).wait()
    if code != 0:
        raise StartFailed(f"{order.command[0]} failed with exit code {code}", order.log)
    return order.log.read_text(errors="replace")


@contextmanager
def held(path: Path, patience_s: float) -> Iterator[int]:
    """Take the lock on this file for the time of the block, and yield its descriptor.

    A program started with it goes on holding it after the block.

    Raises:
        TimeoutError: somebody else still holds it after so many seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + patience_s
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is held by somebody else")
            time.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free; it ends with the last copy of the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "the warden is started with both pipes"
    return stream
