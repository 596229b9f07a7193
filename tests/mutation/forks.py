"""The process that forks a child per trial: it has imported what costs time, and nothing of ours.

Run in a copy of the tree, with the libraries to import as its arguments. A `Trial` per line comes
in, an outcome per line goes out.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import msgspec
import pytest

from tests.mutation.recording import record

LIBRARIES = (
    "aiohttp.web", "alembic.command", "argon2", "asyncpg", "cachetools", "fastapi", "hypothesis",
    "jwt", "msgspec", "obstore.store", "prometheus_client", "pydantic_settings", "redis.asyncio",
    "rich.console", "sqlalchemy.ext.asyncio", "structlog", "tenacity", "typer", "uvicorn", "httpx",
    "hypothesis.stateful", "pytest_asyncio.plugin",
)  # fmt: skip
MEMORY_BYTES = 8 << 30
"""A mutant that never stops appending must not take the machine with it. Address space, not use."""


class Trial(msgspec.Struct, frozen=True):
    """One pytest run: over `files`, of the tests with these ids alone and in this order.

    `log` is where its output goes, nowhere when empty; `record` where to write which test ran which
    line. Without ids all tests run, and bytecode is kept for the trials to come.
    """

    files: tuple[str, ...]
    ids: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    cpu_s: int = 3600
    timeout_s: float = 3600
    log: str = ""
    record: str = ""


class Chosen:
    """Keeps the chosen tests, in the order in which they were chosen."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rank = {id: rank for rank, id in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(kept, key=lambda item: self._rank[item.nodeid])


class Forks:
    """The other end: starts that process in a tree and asks it. Closed by `close`."""

    def __init__(
        self, tree: Path, environment: Mapping[str, str], libraries: Sequence[str] = LIBRARIES
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.forks", *libraries],
            cwd=tree,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, trial: Trial) -> str:
        """Return `survived`, `killed` or `hung`: whatever is not a pass has noticed the mutant.

        Raises:
            EOFError: the process is gone.
        """
        requests, outcomes = self._process.stdin, self._process.stdout
        assert requests is not None
        assert outcomes is not None
        requests.write(msgspec.json.encode(trial) + b"\n")
        requests.flush()
        outcome = outcomes.readline().decode().strip()
        if not outcome:
            raise EOFError("the forking process ended; its error stands above")
        return outcome

    def close(self) -> None:
        # Leaving the block closes both pipes; no more requests end the process.
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()


def serve(requests: IO[bytes], outcomes: IO[bytes], libraries: Sequence[str]) -> None:
    """Fork a child for every request until there are no more."""
    for library in libraries:
        import_module(library)
    gc.collect()
    gc.freeze()
    for line in requests:
        outcomes.write(_forked(msgspec.json.decode(line, type=Trial)).encode() + b"\n")
        outcomes.flush()


def _forked(trial: Trial) -> str:
    child = get_context("fork").Process(target=_perform, args=(trial,))
    child.start()
    child.join(trial.timeout_s)
    hung = child.is_alive() or child.exitcode == -signal.SIGXCPU
    assert child.pid is not None
    with suppress(ProcessLookupError):
        # What a test started and left behind goes too.
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
    if hung:
        return "hung"
    return "survived" if child.exitcode in _PASSED else "killed"


_UNUSED = ("-p", "no:schemathesis", "-p", "no:xdist", "-p", "no:anyio")
# Plugins imported before pytest could rewrite their assertions: they make none for us.
_PRELOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning", *_UNUSED)
_PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def _perform(trial: Trial) -> None:
    os.setsid()
    output = os.open(trial.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (trial.cpu_s, trial.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.dont_write_bytecode = bool(trial.ids)
    arguments = ["-q", "-p", "no:cacheprovider", *_PRELOADED, *trial.arguments, *trial.files]
    if trial.record:
        code = record(arguments, Path(trial.record))
    else:
        code = pytest.main(arguments, [Chosen(trial.ids)] if trial.ids else [])
    # Past whatever threads the tests left running.
    os._exit(code)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, sys.argv[1:])
