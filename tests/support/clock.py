"""Virtual time: a loop on which waiting costs nothing, and the clock that goes with it.

On this loop everything that waits (sleeps, time-outs, retries, debounces) does so in virtual time:
when all tasks wait, the time of the next one that is due has come. Nothing in the product has to
know. A test that would wait for ever fails at once instead.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

BEGAN = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Deadlock(AssertionError):
    """Every task waits for another one."""


class NoWaiting(selectors.DefaultSelector):
    """Lets time pass instead of waiting for sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("every task waits for another one, and no time-out will end it")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is its own."""

    def __init__(self, selector: NoWaiting | None = None) -> None:
        self._virtual = selector or NoWaiting()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def jump(self, seconds: float) -> None:
        """Let time pass while no task runs, as it does for a process that is stopped."""
        self._virtual.now += seconds


class VirtualClock:
    """`Clock` of the loop that runs now, with its own offset: no two servers' clocks agree.

    Unless `ahead_s` says by how much the time of day is ahead, it is by the same offset.
    """

    def __init__(self, offset_s: float = 0.0, ahead_s: float | None = None) -> None:
        self._offset_s = offset_s
        self._ahead_s = offset_s if ahead_s is None else ahead_s

    def now(self) -> datetime:
        passed_s = asyncio.get_running_loop().time() - 1000.0
        return BEGAN + timedelta(seconds=passed_s + self._ahead_s)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self._offset_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def advance(seconds: float) -> None:
    """Let that much time pass; everything due until then has run."""
    await asyncio.sleep(seconds)
    await settle()


async def settle(turns: int = 50) -> None:
    """Let every task that can go on do so, without any time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


def jump(seconds: float) -> None:
    """Let time pass while no task runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump(seconds)


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop with virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
