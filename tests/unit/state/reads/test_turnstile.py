"""So many at once, so many in line, and no more."""

import asyncio

import pytest

from src.state.errors import Overloaded
from src.state.reads.turnstile import Turnstile
from tests.support.clock import advance, settle, virtual_time


@virtual_time
async def test_no_more_at_once_than_allowed_and_the_rest_in_order() -> None:
    turnstile = Turnstile("reads", 2, 10)
    inside: list[int] = []
    most = 0
    came: list[int] = []

    async def go(number: int) -> None:
        nonlocal most
        async with turnstile.turn():
            came.append(number)
            inside.append(number)
            most = max(most, len(inside))
            await asyncio.sleep(1)
            inside.remove(number)

    await asyncio.gather(*(go(number) for number in range(7)))
    assert (most, came, turnstile.waiting) == (2, list(range(7)), 0)


@virtual_time
async def test_who_finds_the_line_full_is_sent_away() -> None:
    turnstile = Turnstile("reads", 1, 2)
    done = asyncio.Event()

    async def go() -> None:
        async with turnstile.turn():
            await done.wait()

    tasks = [asyncio.ensure_future(go()) for _ in range(3)]
    await settle()
    with pytest.raises(Overloaded, match="2 reads wait already"):
        await go()
    assert (turnstile.waiting, turnstile.refused) == (2, 1)
    done.set()
    await asyncio.gather(*tasks)
    await go()


@virtual_time
async def test_who_waited_for_too_long_is_sent_away_and_the_rest_moves_up() -> None:
    turnstile = Turnstile("edits", 1, 10, 5.0)
    async with turnstile.turn():
        early = asyncio.ensure_future(turnstile.turn().__aenter__())
        await advance(3)
        late = asyncio.ensure_future(turnstile.turn().__aenter__())
        await advance(3)
        with pytest.raises(Overloaded, match="edits wait for longer than 5 s"):
            await early
        assert (turnstile.waiting, turnstile.refused) == (1, 1)
    await late


@virtual_time
async def test_who_gives_up_in_line_leaves_it() -> None:
    turnstile = Turnstile("reads", 1, 1)
    async with turnstile.turn():
        task = asyncio.ensure_future(turnstile.turn().__aenter__())
        await settle()
        task.cancel()
        await settle()
        assert turnstile.waiting == 0
    async with turnstile.turn():
        pass
