"""A wait that is ended early ends once, however often it is told."""

import asyncio

import pytest

from src.state.cutting import cut_short
from tests.support.clock import settle


async def test_wait_that_is_slow_to_end_may_be_told_again() -> None:
    told = asyncio.Event()

    async def wait(patience: asyncio.Timeout) -> None:
        async with patience:
            try:
                await asyncio.Event().wait()
            finally:
                await told.wait()

    patience = asyncio.timeout(None)
    waiting = asyncio.ensure_future(wait(patience))
    await settle()
    cut_short(patience)
    await settle()
    cut_short(patience)
    told.set()
    with pytest.raises(TimeoutError):
        await waiting
