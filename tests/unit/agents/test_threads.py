"""Two loops: work and contexts of one, used from the other, end in both."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from src.agents.threads import in_loop, opened_in


@pytest.fixture
def other() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


async def test_work_runs_in_its_own_loop_and_its_error_comes_back(
    other: asyncio.AbstractEventLoop,
) -> None:
    async def here() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def fail() -> None:
        raise KeyError("x")

    assert await in_loop(other, here()) is other
    with pytest.raises(KeyError):
        await in_loop(other, fail())


async def test_who_gives_up_here_gives_it_up_there(other: asyncio.AbstractEventLoop) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(in_loop(other, wait()))
    assert await asyncio.to_thread(began.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)


async def test_context_is_entered_and_left_in_one_task_of_its_loop(
    other: asyncio.AbstractEventLoop,
) -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[str]:
        async with asyncio.timeout(5):
            seen.append(asyncio.current_task())
            yield "value"
            seen.append(asyncio.current_task())

    async with opened_in(other, context()) as value:
        assert value == "value"
        assert len(seen) == 1
    entered, left = seen
    assert entered is left


async def test_context_that_cannot_be_entered_says_why(other: asyncio.AbstractEventLoop) -> None:
    class Context:
        async def __aenter__(self) -> None:
            raise KeyError("closed")

        async def __aexit__(self, *_: object) -> None: ...

    with pytest.raises(KeyError, match="closed"):
        async with opened_in(other, Context()):
            pass


async def test_error_inside_the_block_leaves_the_context(other: asyncio.AbstractEventLoop) -> None:
    left = threading.Event()

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        try:
            yield
        finally:
            left.set()

    with pytest.raises(ZeroDivisionError):
        async with opened_in(other, context()):
            raise ZeroDivisionError
    assert left.is_set()


async def test_loop_that_is_closed_is_an_error_and_no_wait() -> None:
    gone = asyncio.new_event_loop()
    gone.close()

    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="closed"):
        await in_loop(gone, work())
