"""A connection that breaks under a driver's hands is a store that did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import uvloop

from src.state.errors import DurableTierUnavailable, SharedTierUnavailable, TierUnavailable
from src.state.tiers import engine, postgres, redis

TIERS = pytest.mark.parametrize(
    ("answering", "error"),
    [
        (redis.answering, SharedTierUnavailable),
        (postgres.answering, DurableTierUnavailable),
        (engine.answering, DurableTierUnavailable),
    ],
    ids=["redis", "postgres", "engine"],
)
Answering = Callable[[], AbstractContextManager[None]]


@TIERS
def test_a_write_to_a_connection_that_has_just_gone_is_no_answer(
    answering: Answering, error: type[TierUnavailable]
) -> None:
    async def write_into_the_void() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        try:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.transport.abort()
            await asyncio.sleep(0)  # The loop closes what was aborted at its next turn.
            with pytest.raises(error), answering():
                writer.writelines([b"PING\r\n"])
        finally:
            server.close()

    # The loop that serves (src/api/serving.py): asyncio's own drops such bytes in silence.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write_into_the_void())


@TIERS
def test_another_runtime_error_is_a_defect(
    answering: Answering, error: type[TierUnavailable]
) -> None:
    with pytest.raises(RuntimeError, match="a defect"), answering():
        raise RuntimeError("a defect")
