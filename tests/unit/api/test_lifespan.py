"""How endless answers are told that their server is going away."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from src.api.lifespan import Drain


async def ended(*streams: asyncio.Future[None]) -> list[bool]:
    await asyncio.wait(streams, timeout=20)
    return [stream.done() for stream in streams]


async def test_thousand_streams_each_wait_for_the_drain_on_their_own() -> None:
    """To give up waiting on one future takes a look at all who wait on it: for each event sent."""
    drain = Drain()
    drain.open()
    with ExitStack() as stack:
        streams = [stack.enter_context(drain.watching()) for _ in range(1000)]
        assert len(set(streams)) == 1000

        drain.begin()

        assert all(await ended(*streams))


async def test_stream_that_comes_during_the_drain_ends_at_once() -> None:
    drain = Drain()
    drain.open()
    drain.begin()
    with drain.watching() as stream:
        assert await ended(stream) == [True]


async def test_drain_that_is_announced_ends_no_stream_yet() -> None:
    drain = Drain()
    drain.open()
    with drain.watching() as before:
        drain.announce()
        with drain.watching() as after:
            assert not before.done()
            assert not after.done()
            drain.begin()
            assert await ended(before, after) == [True, True]


async def test_stream_that_is_over_is_forgotten() -> None:
    drain = Drain()
    drain.open()
    with drain.watching():
        pass
    assert not drain._watching
