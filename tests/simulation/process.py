"""One life of a server process: it can be stopped at any await, for a while or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.awaits import Await, where

_ENDING_TRIES = 20


class Process:
    """What runs of one server. `on_crash` is called once, with where the crash struck."""

    def __init__(self, name: str, on_crash: Callable[[Process, tuple[Await, ...]], None]) -> None:
        self.name = name
        self._on_crash = on_crash
        self.dead = False
        self.watching = False
        """Every step is looked at: a crash or a pause is planned."""
        self._aim: Await | None = None
        self._left = 0
        self._to_pause = False
        self._paused = False
        self._waiting: list[asyncio.Future[None]] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @property
    def halted(self) -> bool:
        """Nothing of it runs, for now or for ever."""
        return self.dead or self._paused

    def started(self, task: asyncio.Task[Any]) -> None:
        """Note a task of this process."""
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def aim(self, at: Await | None, times: int = 1, *, pause: bool = False) -> None:
        """Crash, or pause, when suspended at an await (None: at any) for the n-th time."""
        self._aim, self._left, self._to_pause, self.watching = at, times, pause, True

    def look(self, coro: Any) -> None:
        """Strike if the step that just ended is suspended where that is to be."""
        chain = where(coro)
        if chain and (self._aim is None or self._aim in chain):
            self._left -= 1
            if self._left <= 0:
                self.watching = False
                if self._to_pause:
                    self.pause()
                else:
                    self.crash(chain)

    def crash(self, at: tuple[Await, ...] = ()) -> None:
        """Stop for ever: no task takes another step, no clean-up runs."""
        if not self.dead:
            self.dead, self.watching = True, False
            self._on_crash(self, at)

    def pause(self) -> None:
        """Stop where it is, as SIGSTOP does."""
        self._paused = True

    def go_on(self) -> None:
        """Go on with what was under way, as SIGCONT does."""
        if self._paused:
            self._paused = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)

    def wait(self) -> Any:
        """Return what a step that is withheld waits for: its own, since a cancel would end it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.dead:
            self._waiting.append(future)
        future._asyncio_future_blocking = True
        return future

    async def bury(self) -> None:
        """Take the remains apart, once nothing counts any more: what is suspended may end."""
        self.dead = self._paused = self.watching = False
        for _ in range(_ENDING_TRIES):
            if not self._tasks:
                return
            for task in list(self._tasks):
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=1.0)
        raise AssertionError(f"{self.name} does not end: {list(self._tasks)}")


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps its process may withhold."""

    __slots__ = ("_coro", "_held", "_process", "_send", "_waiting")

    def __init__(self, process: Process, coro: Coroutine[Any, Any, Any]) -> None:
        self._process, self._coro = process, coro
        self._send = coro.send
        self._held: tuple[BaseException | None, Any] = (None, None)
        self._waiting = False

    def send(self, value: Any) -> Any:
        process = self._process
        if process.halted:
            return self._hold(None, value)
        if self._waiting:
            self._waiting = False
            error, value = self._held
            if error is not None:
                return self._coro.throw(error)
        found = self._send(value)
        if process.watching:
            process.look(self._coro)
        return found

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> Any:
        if self._process.halted:
            return self._hold(error, None)
        self._waiting = False
        found = self._coro.throw(error)
        if self._process.watching:
            self._process.look(self._coro)
        return found

    def _hold(self, error: BaseException | None, value: Any) -> Any:
        if not self._waiting or error is not None:
            self._held = error, value
        self._waiting = True
        return self._process.wait()

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Any:
        raise TypeError("a task's own coroutine is awaited by nobody")
