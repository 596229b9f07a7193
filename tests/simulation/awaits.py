"""Every place where the product waits, from its source; and where a suspended coroutine stands."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
ROOMS = ("state", "invalidation")


class Await(NamedTuple):
    """One place. `what` is `await`, `enter` or `exit` of an `async with`, or `next`."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}"


@cache
def all_awaits() -> tuple[Await, ...]:
    """Return the places of the rooms that are simulated, in order."""
    found = (
        place
        for room in ROOMS
        for path in (ROOT / "src" / room).rglob("*.py")
        for place in _awaits_of(path)
    )
    return tuple(sorted(found))


def _awaits_of(path: Path) -> Iterator[Await]:
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Await):
            yield Await(name, node.lineno, "await")
        elif isinstance(node, ast.AsyncWith):
            yield Await(name, node.lineno, "enter")
            yield Await(name, node.lineno, "exit")
        elif isinstance(node, ast.AsyncFor):
            yield Await(name, node.lineno, "next")


@cache
def _headers(filename: str) -> dict[int, tuple[int, str]]:
    """Map each line of a header of several lines to its statement's first one, and to its kind."""
    lines: dict[int, tuple[int, str]] = {}
    for node in ast.walk(ast.parse(Path(filename).read_text())):
        if isinstance(node, ast.AsyncWith | ast.AsyncFor):
            what = "with" if isinstance(node, ast.AsyncWith) else "next"
            for line in range(node.lineno, node.body[0].lineno):
                lines[line] = node.lineno, what
    return lines


@cache
def _name(filename: str) -> str | None:
    """Return the path of a file if it is simulated."""
    path = Path(filename)
    if not path.is_relative_to(ROOT / "src"):
        return None
    name = path.relative_to(ROOT)
    return str(name) if name.parts[1] in ROOMS else None


def where(coro: Any) -> tuple[Await, ...]:
    """Return the places at which a suspended coroutine waits, the outermost first."""
    found: list[Await] = []
    while True:
        if isinstance(coro, CoroutineType):
            frame, inner = coro.cr_frame, coro.cr_await
        elif isinstance(coro, AsyncGeneratorType):
            frame, inner = coro.ag_frame, coro.ag_await
        else:
            # A step of an async generator does not tell whose it is; the collector knows.
            inner = next((one for one in gc.get_referents(coro) if _steps(one)), None)
            if inner is None:
                return tuple(found)
            coro = inner
            continue
        if frame is None:
            return tuple(found)
        filename = frame.f_code.co_filename
        if _name(filename) is not None:
            exits = getattr(inner, "__name__", "") == "__aexit__"
            found.append(_place(filename, frame.f_lineno, exits))
        coro = inner


def _steps(one: object) -> bool:
    return isinstance(one, AsyncGeneratorType) or type(one).__name__ == "async_generator_asend"


@cache
def _place(filename: str, line: int, exits: bool) -> Await:
    first, what = _headers(filename).get(line, (line, "await"))
    if what == "with":
        what = "exit" if exits else "enter"
    return Await(_name(filename) or filename, first, what)


_REAL = "asks a real store: struck by the kills of real processes"
_UNFIT = "a snapshot that PostgreSQL never takes: the model database takes all"
_ERASED = "nothing is erased in a simulation"
_PAST = "nobody looks at the past in a simulation"
_DUTIES = "no simulated server has a duty"
_HOSTS = "no simulated server hosts rooms"
_NEVER: tuple[tuple[str, str, str], ...] = (
    ("postgres", "", _REAL),
    ("redis", "", _REAL),
    ("src/invalidation/changes.py", "", _REAL),
    ("src/state/configs.py", "", _REAL),
    ("src/state/lists.py", "", _REAL),
    ("src/state/quarantine.py", "", _REAL),
    ("src/state/queue.py", "", _REAL),
    ("src/state/rates.py", "", _REAL),
    ("src/state/records/", "", _REAL),
    ("src/state/tiers/connections.py", "", _REAL),
    ("src/state/tiers/engine.py", "", _REAL),
    ("src/state/tiers/migrations.py", "", _REAL),
    ("src/state/clock.py", "", "the clock of real servers"),
    ("", "await self.save(entries[", _UNFIT),
    ("", "_put_aside(entries[0]", _UNFIT),
    ("", "self._poison.put_aside([poison]", _UNFIT),
    ("leader.py", "", _DUTIES),
    ("memory_duties.py", "", _DUTIES),
    ("memory_eraser.py", "", _ERASED),
    ("store.py", "_load_erased(id)", _ERASED),
    ("store.py", "_from_source(id, None)", _ERASED),
    ("source.py", "_begin(id, within)", _PAST),
    ("source.py", "fresh = events = await", _PAST),
    ("membership.py", "_beat(self._clock.monotonic())", _HOSTS),
    ("membership.py", "self._beating:", _HOSTS),
    ("memory_shared.py:65", "", "no part of a server asks for it"),
    (" exit", "_loads.turn()", "to give a turn back waits for nothing"),
    ("source.py", "self._log.tail(id, 1)", "a lost branch: the model's failover loses nothing"),
    ("source.py", "self._complete(id, base, events, 1)", "a page of events since a copy was made"),
    ("", "on_branch()", "what is in memory is dropped without a wait"),
    ("", "on_deposed()", "what is in memory is dropped without a wait"),
    ("", "self.holdings.deposed()", "what is in memory is dropped without a wait"),
    ("", "self._guards.fence else", "only where a guard is switched off"),
    (
        "publisher.py",
        "await self._bus.renew()",
        "ten thousand untold changes, or a dead silent server",
    ),
    (" exit", "_turn:", "to let go of a lock waits for nothing"),
    (" enter", "asyncio.timeout(", "to set a time-out waits for nothing"),
    (" exit", "asyncio.timeout(", "to lift a time-out waits for nothing"),
    (" enter", "asyncio.TaskGroup()", "to open a group of tasks waits for nothing"),
    ("background.py", "async with asyncio.TaskGroup()", "each task has ended by then"),
    (" enter", "background(", "to start background tasks waits for nothing"),
    (" exit", ".subscribe() as", "to end a subscription waits for nothing"),
)
"""Part of a place, part of its line, and why no simulated server is ever suspended there."""


def reachable() -> tuple[Await, ...]:
    """Return the places at which a simulated server can be suspended."""
    return tuple(one for one in all_awaits() if reason(one) is None)


@cache
def reason(place: Await) -> str | None:
    """Say why a server of a simulation is never suspended there; None if it can be."""
    line = (ROOT / place.path).read_text().splitlines()[place.line - 1]
    return next((why for part, text, why in _NEVER if part in str(place) and text in line), None)
