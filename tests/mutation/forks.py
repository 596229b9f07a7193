"""The process that forks a child per trial, with what costs time done before.

Run in a copy of the tree. Without arguments it imports libraries and nothing of ours: a child
imports the mutant. With arguments it collects the tests there: a child has the mutant's code
swapped in. A `Trial` per line comes in, an outcome per line goes out.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import msgspec
import pytest
from _pytest.main import pytest_runtestloop

from tests.mutation.recording import record
from tests.mutation.swapping import loaded, swap
from tests.mutation.trial import UNCHANGED, Trial

LIBRARIES = (
    "aiohttp.web", "alembic.command", "argon2", "asyncpg", "cachetools", "fastapi", "hypothesis",
    "hypothesis.stateful", "jwt", "msgspec", "obstore.store", "prometheus_client",
    "pydantic_settings", "redis.asyncio", "rich.console", "sqlalchemy.ext.asyncio", "structlog",
    "tenacity", "typer", "uvicorn",
)  # fmt: skip
MEMORY_BYTES = 8 << 30
"""A mutant that never stops appending must not take the machine with it. Address space, not use."""
ARGUMENTS = (
    "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0",
    # Used by no trial.
    "-p", "no:schemathesis", "-p", "no:xdist", "-p", "no:anyio",
    # Plugins imported before pytest could rewrite their assertions: they make none for us.
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
_PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
_NOT_CHANGED = 77


class Chosen:
    """Keeps the chosen tests, in the order in which they were chosen."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rank = {id: rank for rank, id in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(kept, key=lambda item: self._rank[item.nodeid])


class Collected:
    """Holds pytest between its collection and its tests: from here the children go on."""

    def __init__(self, serve: Callable[[Callable[[Trial], int]], None]) -> None:
        self._serve = serve

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = loaded(Path.cwd())
        items = {item.nodeid: item for item in session.items}

        def perform(trial: Trial) -> int:
            if not swap(functions.get(trial.module, ()), trial.text):
                return _NOT_CHANGED
            session.items = [items[id] for id in trial.ids]
            with suppress(session.Failed):
                pytest_runtestloop(session)
            return int(session.testsfailed > 0)

        self._serve(perform)
        return True


def main(collect: Sequence[str]) -> None:
    """Serve the requests of standard input until there are no more."""
    requests, outcomes = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What pytest prints is no outcome.
    os.dup2(2, 1)

    def serve(perform: Callable[[Trial], int]) -> None:
        gc.collect()
        gc.freeze()
        _serve(requests, outcomes, perform)

    if collect:
        pytest.main([*ARGUMENTS, "-s", "--no-header", *collect], [Collected(serve)])
    else:
        for library in LIBRARIES:
            import_module(library)
        serve(_fresh)


def _serve(requests: Iterable[bytes], outcomes: IO[bytes], perform: Callable[[Trial], int]) -> None:
    for line in requests:
        outcomes.write(_forked(msgspec.json.decode(line, type=Trial), perform).encode() + b"\n")
        outcomes.flush()


def _forked(trial: Trial, perform: Callable[[Trial], int]) -> str:
    child = get_context("fork").Process(target=_alone, args=(trial, perform))
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
    if child.exitcode == _NOT_CHANGED:
        return UNCHANGED
    return "survived" if child.exitcode in _PASSED else "killed"


def _alone(trial: Trial, perform: Callable[[Trial], int]) -> None:
    os.setsid()
    output = os.open(trial.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (trial.cpu_s, trial.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.dont_write_bytecode = bool(trial.ids)
    # Past whatever threads the tests left running.
    os._exit(perform(trial))


def _fresh(trial: Trial) -> int:
    arguments = [*ARGUMENTS, *trial.arguments, *trial.files]
    if trial.record:
        return record(arguments, Path(trial.record))
    return pytest.main(arguments, [Chosen(trial.ids)] if trial.ids else [])


if __name__ == "__main__":
    main(sys.argv[1:])
