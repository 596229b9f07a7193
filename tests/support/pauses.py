"""SIGSTOP of a whole server of ours: it takes connections and answers nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process and its children in their tracks for the length of the block."""
    os.kill(pid, signal.SIGSTOP)
    # After its parent, which makes no more of them now.
    children = _children(pid)
    try:
        _signal(children, signal.SIGSTOP)
        yield
    finally:
        _signal([*children, pid], signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
