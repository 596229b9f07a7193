"""Keys that come again, many at once and with answers getting lost: each gets its first answer."""

import asyncio

import pytest

from tests.support.clock import settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import Refuse

MORE_THAN_ANYBODY_REMEMBERS = 150


@virtual_time
async def test_any_number_of_repeats_of_one_aggregate_is_answered_by_the_next_owner() -> None:
    cluster = Cluster()
    keys = [f"{i}" for i in range(MORE_THAN_ANYBODY_REMEMBERS)]
    async with cluster.open("a", "b") as [a, b]:
        first = await asyncio.gather(*(a.write("n", key) for key in keys))
        await a.notebooks.drain()
        repeating = asyncio.gather(*(b.write("n", key) for key in keys))
        # So many turns of the loop and no more: what is sent again and again would never end.
        await settle(5_000)
        assert repeating.done()
        again = await repeating
    assert [(ack.version, ack.repeated) for ack in again] == [(ack.version, True) for ack in first]
    assert cluster.texts("n") == keys


@virtual_time
async def test_repeats_among_new_commands_are_told_apart() -> None:
    cluster = Cluster()
    old = [f"old {i}" for i in range(MORE_THAN_ANYBODY_REMEMBERS)]
    new = [f"new {i}" for i in range(MORE_THAN_ANYBODY_REMEMBERS)]
    mixed = [key for pair in zip(old, new, strict=True) for key in pair]
    async with cluster.open("a", "b") as [a, b]:
        await asyncio.gather(*(a.write("n", key) for key in old))
        await a.notebooks.drain()
        sending = asyncio.gather(*(b.write("n", key) for key in mixed))
        await settle(5_000)
        assert sending.done()
        acks = dict(zip(mixed, await sending, strict=True))
    assert {key for key, ack in acks.items() if ack.repeated} == set(old)
    assert cluster.texts("n") == old + new


@pytest.mark.parametrize("lost", range(1, 9))
@virtual_time
async def test_answer_lost_while_repeats_are_sorted_out_leaves_nobody_behind(lost: int) -> None:
    """Whichever question to the log it is."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one", key="taken")
        await a.notebooks.drain()
        before = a.log_link.trips
        repeat = asyncio.ensure_future(a.write("n", "one", key="taken"))
        refused = asyncio.ensure_future(a.submit("n", Refuse(), key="refused"))
        for _ in range(200):
            if a.log_link.trips == before + lost:
                a.log_link.lost_answers = 1
                break
            await asyncio.sleep(0)
        done, _ = await asyncio.wait([repeat, refused], timeout=4)
        assert done == {repeat, refused}
        ack = repeat.result()
        assert (ack.version.seq, ack.repeated) == (1, True)
        assert str(refused.exception()) == "asked to refuse"
        assert a.notebooks.commit.waiting == 0
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_key_of_a_taken_command_that_comes_refused_several_times_is_never_refused() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        first = await a.once("n", "one", key="k")
        await a.notebooks.drain()
        again = await asyncio.gather(*(b.once("n", "one", key="k") for _ in range(5)))
    assert [(ack.version, ack.repeated) for ack in again] == [(first.version, True)] * 5
