"""Work beside a block ends with it, whatever it swallows."""

import asyncio

import pytest

from src.state.background import background
from tests.support.clock import settle, virtual_time


@virtual_time
async def test_work_runs_for_the_length_of_the_block() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    async with background(work(), work()):
        await settle()
        log.append("inside")
    assert log == ["began", "began", "inside", "ended", "ended"]


@virtual_time
async def test_work_that_swallows_a_cancel_is_cancelled_again() -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    async with background(work()):
        await settle()
    assert swallowed == 3


@virtual_time
async def test_failed_work_fails_the_block() -> None:
    async def work() -> None:
        raise OSError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with background(work(), asyncio.sleep(1000)):
            await asyncio.sleep(1000)
    assert isinstance(caught.value.exceptions[0], OSError)


@virtual_time
async def test_failed_block_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def block() -> None:
        async with background(work()):
            await settle()
            raise OSError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert isinstance(caught.value.exceptions[0], OSError)
    assert ended.is_set()
