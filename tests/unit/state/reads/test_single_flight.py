"""One load per key, for all who ask meanwhile."""

import asyncio
import gc
from typing import Any

import pytest

from src.state.reads.single_flight import SingleFlight
from tests.support.clock import settle, virtual_time


class Loads:
    """A load that ends when the test says so."""

    def __init__(self) -> None:
        self.began = 0
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.began += 1
        return await asyncio.shield(self.answer)


@virtual_time
async def test_a_thousand_callers_make_one_load() -> None:
    flight, load = SingleFlight[str](), Loads()
    callers = [asyncio.ensure_future(flight.do("k", load)) for _ in range(1000)]
    await settle()
    load.answer.set_result("x")
    assert await asyncio.gather(*callers) == ["x"] * 1000
    assert load.began == 1


@virtual_time
async def test_keys_do_not_wait_for_each_other() -> None:
    flight, slow, quick = SingleFlight[str](), Loads(), Loads()
    waiting = asyncio.ensure_future(flight.do("slow", slow))
    quick.answer.set_result("x")
    assert await flight.do("quick", quick) == "x"
    slow.answer.set_result("y")
    assert await waiting == "y"


@virtual_time
async def test_next_caller_loads_anew() -> None:
    flight, load = SingleFlight[str](), Loads()
    load.answer.set_result("x")
    for _ in range(3):
        await flight.do("k", load)
        await settle()
    assert load.began == 3


@pytest.mark.parametrize("leaver", [0, 1])
@virtual_time
async def test_cancelled_caller_leaves_the_load_to_the_others(leaver: int) -> None:
    flight, load = SingleFlight[str](), Loads()
    callers = [asyncio.ensure_future(flight.do("k", load)) for _ in range(3)]
    await settle()
    callers[leaver].cancel()
    await settle()
    load.answer.set_result("x")
    done = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(done.pop(leaver), asyncio.CancelledError)
    assert done == ["x", "x"]
    assert load.began == 1


@virtual_time
async def test_error_reaches_all_and_is_not_kept() -> None:
    flight, load = SingleFlight[str](), Loads()
    callers = [asyncio.ensure_future(flight.do("k", load)) for _ in range(10)]
    await settle()
    load.answer.set_exception(OSError("away"))
    done = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in done] == [OSError] * 10
    again = Loads()
    again.answer.set_result("x")
    assert await flight.do("k", again) == "x"


@virtual_time
async def test_error_that_nobody_waits_for_is_no_complaint() -> None:
    flight, load = SingleFlight[str](), Loads()
    caller = asyncio.ensure_future(flight.do("k", load))
    await settle()
    caller.cancel()
    load.answer.set_exception(OSError("away"))
    await settle()
    assert caller.cancelled()


@virtual_time
async def test_close_ends_what_is_under_way() -> None:
    flight, load = SingleFlight[str](), Loads()
    caller = asyncio.ensure_future(flight.do("k", load))
    await settle()
    await flight.aclose()
    with pytest.raises(asyncio.CancelledError):
        await caller


@virtual_time
async def test_error_that_nobody_waits_for_any_more_is_nobodys() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    flight, failing, ended = SingleFlight[str](), Loads(), Loads()
    callers = [
        asyncio.ensure_future(flight.do("failing", failing)),
        asyncio.ensure_future(flight.do("ended", ended)),
    ]
    await settle()
    for caller in callers:
        caller.cancel()
    await settle()
    failing.answer.set_exception(ValueError("defect"))
    await settle()
    await flight.aclose()
    await settle()
    gc.collect()
    assert told == []
