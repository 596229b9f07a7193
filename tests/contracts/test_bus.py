"""What `Bus` promises, in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from src.invalidation.messages import Message
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement, Version
from src.state.tiers.keys import PARTITIONS, partition_of
from tests.contracts.conftest import Shared

pytestmark = pytest.mark.usefixtures("patience")
P = partition_of("n")


def change(seq: int, id: str = "n") -> Announcement:
    return Announcement("notebook", id, Version(7, seq))


async def take(messages: AsyncIterator[Message], count: int) -> list[Message]:
    return [await anext(messages) for _ in range(count)]


async def test_positions_start_at_zero_and_hold_still(shared: Shared) -> None:
    first, second = await shared.bus.positions(), await shared.bus.positions()
    assert [position.n for position in first] == [0] * PARTITIONS
    assert list(first) == list(second)
    assert all(position.incarnation for position in first)


async def test_numbers_are_dense_per_partition(shared: Shared) -> None:
    for seq in range(1, 4):
        await shared.bus.publish("server-a", [change(seq)])
    positions = await shared.bus.positions()
    assert [position.n for position in positions] == [3 if p == P else 0 for p in range(PARTITIONS)]


async def test_nothing_to_publish(shared: Shared) -> None:
    await shared.bus.publish("server-a", [])
    assert sum(position.n for position in await shared.bus.positions()) == 0


async def test_one_message_per_partition_and_call(shared: Shared) -> None:
    changes = [change(1, f"n{i}") for i in range(200)]
    await shared.bus.publish("server-a", changes)
    assert [position.n for position in await shared.bus.positions()] == [1] * PARTITIONS
    replayed = [await shared.bus.replay(p, 0, 1) for p in range(PARTITIONS)]
    told = {c for messages in replayed for message in messages or () for c in message.changes}
    assert told == set(changes)


async def test_replay_gives_what_was_said_in_order(shared: Shared) -> None:
    for seq in range(1, 6):
        await shared.bus.publish(f"server-{seq}", [change(seq)])
    messages = await shared.bus.replay(P, 1, 4)
    assert messages is not None
    assert [(m.n, m.origin, m.changes) for m in messages] == [
        (n, f"server-{n}", (change(n),)) for n in (2, 3, 4)
    ]
    assert {m.partition for m in messages} == {P}
    position = (await shared.bus.positions())[P]
    assert {position.incarnation.startswith(f"{m.incarnation}:") for m in messages} == {True}


async def test_replay_of_nothing(shared: Shared) -> None:
    assert await shared.bus.replay(P, 3, 3) == []


async def test_replay_beyond_what_is_kept_is_none(shared: Shared) -> None:
    for seq in range(1, 6):
        await shared.bus.publish("server-a", [change(seq)])
    await shared.trim(P)
    assert await shared.bus.replay(P, 1, 5) is None
    assert await shared.bus.replay(P, 4, 5) is not None


async def test_replay_of_what_was_never_said_is_none(shared: Shared) -> None:
    await shared.bus.publish("server-a", [change(1)])
    assert await shared.bus.replay(P, 0, 2) is None


async def test_subscriber_hears_all_in_order(shared: Shared) -> None:
    async with shared.bus.subscribe() as messages:
        for seq in range(1, 4):
            await shared.bus.publish("server-a", [change(seq)])
        heard = await take(messages, 3)
    assert [(m.partition, m.n, m.origin, m.changes) for m in heard] == [
        (P, n, "server-a", (change(n),)) for n in (1, 2, 3)
    ]


async def test_every_subscriber_hears(shared: Shared) -> None:
    async with shared.bus.subscribe() as one, shared.bus.subscribe() as two:
        await shared.bus.publish("server-a", [change(1)])
        assert [m.n for m in await take(one, 1)] == [m.n for m in await take(two, 1)] == [1]


async def test_subscription_stands_when_it_is_entered(shared: Shared) -> None:
    await shared.bus.publish("server-a", [change(1)])
    async with shared.bus.subscribe() as messages:
        await shared.bus.publish("server-a", [change(2)])
        assert (await anext(messages)).n == 2


async def test_broken_subscription_ends_with_an_error(shared: Shared) -> None:
    async with shared.bus.subscribe() as messages:
        await shared.cut()
        with pytest.raises(SharedTierUnavailable):
            await anext(messages)


async def test_cleared_bus_begins_another_life(shared: Shared) -> None:
    await shared.bus.publish("server-a", [change(1)])
    before = (await shared.bus.positions())[P]
    await shared.clear()
    after = (await shared.bus.positions())[P]
    assert after.n == 0
    assert after.incarnation != before.incarnation
    await shared.bus.publish("server-a", [change(2)])
    again = (await shared.bus.positions())[P]
    assert (again.incarnation, again.n) == (after.incarnation, 1)


async def test_first_announcement_after_a_clear_begins_the_life_that_pulls_find(
    shared: Shared,
) -> None:
    before = (await shared.bus.positions())[P]
    await shared.clear()
    async with shared.bus.subscribe() as messages:
        await shared.bus.publish("server-a", [change(1)])
        message = await anext(messages)
    after = (await shared.bus.positions())[P]
    assert after.incarnation != before.incarnation
    assert after.incarnation.startswith(f"{message.incarnation}:")


async def test_renewed_bus_is_in_another_life_with_nothing_kept(shared: Shared) -> None:
    await shared.bus.publish("server-a", [change(1)])
    before = await shared.bus.positions()
    await shared.bus.renew()
    after = await shared.bus.positions()
    assert [position.n for position in after] == [0] * PARTITIONS
    lives = {position.incarnation for position in before}
    assert not lives & {position.incarnation for position in after}
    await shared.bus.publish("server-a", [change(2)])
    assert [m.changes for m in await shared.bus.replay(P, 0, 1) or ()] == [(change(2),)]


async def test_counter_that_is_lost_alone_begins_anew(shared: Shared) -> None:
    for seq in (1, 2):
        await shared.bus.publish("server-a", [change(seq)])
    await shared.forget_counter(P)
    before = (await shared.bus.positions())[P]
    await shared.bus.publish("server-a", [change(3)])
    after = (await shared.bus.positions())[P]
    assert (after.incarnation, after.n) == (before.incarnation, 1)
    assert [m.changes for m in await shared.bus.replay(P, 0, 1) or ()] == [(change(3),)]


async def test_concurrent_publishers_share_the_numbers(shared: Shared) -> None:
    async with shared.bus.subscribe() as messages:
        await asyncio.gather(*(shared.bus.publish("server-a", [change(n)]) for n in range(1, 51)))
        heard = await take(messages, 50)
    assert [m.n for m in heard] == list(range(1, 51))
    assert {c.version.seq for m in heard for c in m.changes} == set(range(1, 51))


async def test_no_answer_is_an_error(shared: Shared) -> None:
    await shared.switch_off()
    with pytest.raises(SharedTierUnavailable):
        await shared.bus.publish("server-a", [change(1)])
    with pytest.raises(SharedTierUnavailable):
        await shared.bus.positions()
    with pytest.raises(SharedTierUnavailable):
        await shared.bus.replay(P, 0, 1)
    with pytest.raises(SharedTierUnavailable):
        async with shared.bus.subscribe():
            pass
