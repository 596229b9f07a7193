"""One bound for users in several loops: so many are in, in order, and nobody's place is lost."""

import asyncio
import threading

import pytest

from src.agents.providers.gate import Gate
from tests.support.cluster_settings import eventually


async def test_so_many_are_in_and_the_others_come_in_order() -> None:
    gate, came = Gate(1), asyncio.Queue[int]()

    async def visit(number: int) -> None:
        await gate.enter(5)
        came.put_nowait(number)

    await gate.enter(5)
    visits = [asyncio.create_task(visit(number)) for number in (1, 2)]
    await eventually(lambda: gate.waiting == 2, what="two in line")
    assert (gate.busy, came.qsize()) == (1, 0)
    for number in (1, 2):
        gate.leave()
        assert await came.get() == number
        assert gate.busy == 1
    gate.leave()
    await asyncio.gather(*visits)
    assert (gate.busy, gate.waiting) == (0, 0)


async def test_who_gives_up_leaves_no_gap_in_the_line() -> None:
    gate = Gate(1)
    await gate.enter(5)
    with pytest.raises(TimeoutError):
        await gate.enter(0.001)
    assert (gate.busy, gate.waiting) == (1, 0)
    gate.leave()
    await gate.enter(5)
    assert gate.busy == 1


async def test_place_that_was_given_to_who_gives_up_is_given_on() -> None:
    gate = Gate(1)
    await gate.enter(5)
    first = asyncio.create_task(gate.enter(5))
    second = asyncio.create_task(gate.enter(5))
    await eventually(lambda: gate.waiting == 2, what="two in line")
    gate.leave()
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (gate.busy, gate.waiting) == (1, 0)


async def test_who_waits_in_another_loop_is_let_in_there() -> None:
    gate, began, entered = Gate(1), threading.Event(), threading.Event()

    async def visit() -> None:
        entering = asyncio.ensure_future(gate.enter(30))
        await eventually(lambda: gate.waiting == 1, what="one in line")
        began.set()
        await entering
        entered.set()

    await gate.enter(5)
    other = threading.Thread(target=lambda: asyncio.run(visit()))
    other.start()
    assert await asyncio.to_thread(began.wait, 30)
    assert not entered.is_set()
    gate.leave()
    assert await asyncio.to_thread(entered.wait, 30)
    await asyncio.to_thread(other.join, 30)
    assert gate.busy == 1


async def test_line_of_a_loop_that_is_closed_is_passed_over() -> None:
    gate = Gate(1)
    await gate.enter(5)
    gone = asyncio.new_event_loop()

    def wait() -> None:
        asyncio.set_event_loop(gone)
        task = gone.create_task(gate.enter(30))
        while not gate.waiting:
            gone.run_until_complete(asyncio.sleep(0))
        # As a thread that is killed leaves it: nobody cancels what waits there.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant
        gone.close()

    await asyncio.to_thread(wait)
    gate.leave()
    assert (gate.busy, gate.waiting) == (0, 0)


async def test_without_a_bound_everybody_is_let_in_and_counted() -> None:
    gate = Gate()
    for _ in range(3):
        await gate.enter(5)
    assert (gate.places, gate.busy) == (None, 3)
