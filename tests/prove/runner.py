"""Plays acts side by side, each in a process of its own, and puts their records on the shelf."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec

from tests.prove.act import Act, Result
from tests.prove.child import NOT_PLAYED, RECORD
from tests.prove.shelf import ROOT, Record, Shelf

LOG = "act.log"
COMMAND = (sys.executable, "-m", "tests.prove.child")
_END_WITHIN_S = 20.0
"""A child needs less, see child.py."""
_LOG_LINES = 30


class Watcher(Protocol):
    """Whoever shows how the run gets on."""

    def began(self, act: Act) -> None: ...

    def told(self, act: Act, text: str) -> None: ...

    def ended(self, act: Act, record: Record | None) -> None:
        """The act was played, or was ended early and has no record."""


async def play(
    acts: Sequence[Act],
    tree: str,
    shelf: Shelf,
    watcher: Watcher,
    *,
    jobs: int,
) -> None:
    """Play all these acts, the long ones first and those that have to be alone last.

    Cancelled, it ends the acts under way and returns when nothing of them is left; what was
    finished stays.
    """
    beside = sorted((a for a in acts if not a.alone), key=lambda act: -act.about_s)
    for group, width in ((beside, jobs), ([a for a in acts if a.alone], 1)):
        waiting = iter(group)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(width, len(group))):
                tasks.create_task(_seat(waiting, tree, shelf, watcher))


async def _seat(waiting: Iterable[Act], tree: str, shelf: Shelf, watcher: Watcher) -> None:
    """Play one act after the other, of those that the other seats leave."""
    for act in waiting:
        watcher.began(act)
        record = None
        try:
            record = await _one(act, tree, shelf, partial(watcher.told, act))
            if record is not None:
                shelf.put(_with_earlier(record, shelf.get(act.name, tree)))
        finally:
            watcher.ended(act, record)


def _with_earlier(record: Record, before: Record | None) -> Record:
    """Keep in the record what went wrong before: playing again until it works proves nothing."""
    if before is None:
        return record
    why = (before.why,) if before.why else ()
    return msgspec.structs.replace(record, earlier=(*before.earlier, *why))


async def _one(act: Act, tree: str, shelf: Shelf, told: Callable[[str], None]) -> Record | None:
    with TemporaryDirectory(prefix="swarmstate-prove-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / LOG).open("wb") as errors:
            child = await asyncio.create_subprocess_exec(
                *COMMAND,
                act.name,
                str(folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                # Ctrl-C reaches the whole group: the child hears of it by its lifeline, in order.
                start_new_session=True,
            )
        try:
            assert child.stdout is not None
            async for line in child.stdout:
                told(line.decode(errors="replace").strip())
            code = await child.wait()
        except asyncio.CancelledError:
            await _end(child)
            raise
        if code == NOT_PLAYED:
            return None
        record = _record(act, tree, folder, code)
        if record.outcome != "kept":
            await asyncio.to_thread(shelf.keep, act.name, folder)
        return record


def _record(act: Act, tree: str, folder: Path, code: int) -> Record:
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except FileNotFoundError:
        last = (folder / LOG).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        error = "\n".join([*last, f"the act's process ended with exit code {code}"])
        return Record(act.name, act.kind, tree, "failed", Result(), error)


async def _end(child: asyncio.subprocess.Process) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        async with asyncio.timeout(_END_WITHIN_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
