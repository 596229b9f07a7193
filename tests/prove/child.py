"""Plays one act in a process of its own: `python -m tests.prove.child ACT FOLDER`.

Lines of progress go to standard output, the record to FOLDER. Standard input is a lifeline: when it
ends, for whatever reason, the act is ended, and with this process end all servers that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog
import uvloop

from tests.prove.act import Act, Place, Result, Stopped, collect
from tests.prove.shelf import Outcome, Record, tree_of, versions

RECORD = "record.json"
NOT_PLAYED = 3
"""Exit code of an act that was ended before its end: there is no record of it."""
_LINE = 500
_STOP_S = 2.0
"""For an act that looks at `stop`, before it is cancelled ..."""
_CANCEL_S = 12.0
"""... and for its servers to end, before the process does, and they with it."""


def main(arguments: Sequence[str], acts: Callable[[], Sequence[Act]] = collect) -> int:
    """Play the act and leave its record; return the exit code."""
    name, folder = arguments[0], Path(arguments[1])
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    act = next(act for act in acts() if act.name == name)
    tree, began = tree_of(), time.monotonic()
    result, error = Result(), ""
    try:
        result = uvloop.run(_play(act, Place(folder, _tell)))
    except (Stopped, asyncio.CancelledError, KeyboardInterrupt):
        return NOT_PLAYED
    except BaseException:
        error = traceback.format_exc()
    outcome: Outcome = "failed" if error else "broken" if result.violations else "kept"
    took_s = round(time.monotonic() - began, 1)
    record = Record(act.name, act.kind, tree, outcome, result, error, took_s, versions())
    (folder / RECORD).write_bytes(msgspec.json.encode(record))
    return 0


async def _play(act: Act, place: Place) -> Result:
    playing = asyncio.ensure_future(act.perform(place))
    loop = asyncio.get_running_loop()

    def end() -> None:
        place.stop.set()
        loop.call_later(_STOP_S, playing.cancel)

    threading.Thread(target=_watch, args=(loop, end), daemon=True).start()
    return await playing


def _watch(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """Wait for the end of the lifeline; then no act, however busy, outlives its time."""
    while os.read(0, 4096):
        pass
    with contextlib.suppress(RuntimeError):  # The loop is closed: the act has just ended.
        loop.call_soon_threadsafe(end)
    time.sleep(_STOP_S + _CANCEL_S)
    os._exit(NOT_PLAYED)


def _tell(text: str) -> None:
    # Nobody reads any more once the parent is gone; the lifeline says so too.
    with contextlib.suppress(BrokenPipeError):
        print(text.replace("\n", " ")[:_LINE], flush=True)  # noqa: T201  # the parent's source of progress


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
