"""The loop of a simulation: virtual time, no sockets, and every task knows its process."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any

from tests.simulation.process import Process, Stepped
from tests.support.clock import Deadlock, NoWaiting, VirtualLoop

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""Which server's code runs; unset for clients and for the simulation itself."""


class _NoSockets(NoWaiting):
    """Nothing but time ever comes: no look at sockets, which would be half of a run's cost."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits for another one, and no time-out will end it")
        self.now += timeout
        return []


class SimulationLoop(VirtualLoop):
    """Makes tasks of a server's code steppable, so that the server can stop at any await."""

    def __init__(self) -> None:
        super().__init__(_NoSockets())
        self.set_task_factory(_make_task)

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        """Not kept: generators of a crashed process are ended with it, not by the loop."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Left as it is: no clean-up of a crashed process may run."""


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> asyncio.Task[Any]:
    assert isinstance(coro, Coroutine)
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is None:
        return asyncio.Task(coro, loop=loop, context=context)
    task: asyncio.Task[Any] = asyncio.Task(Stepped(process, coro), loop=loop, context=context)
    process.started(task)
    return task
