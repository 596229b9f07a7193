"""What `SharedTier` promises, in memory and in Redis."""

import asyncio

import pytest
from msgspec.structs import replace

from src.state.errors import SharedTierUnavailable
from src.state.guards import Guards
from src.state.models import Announcement, Version
from src.state.protocols import SharedCopy, Snapshot
from tests.contracts.conftest import Shared

K = "notebook"


def body(shared: Shared, seq: int, *, id: str = "n", schema: int = 1, epoch: int = 7) -> Snapshot:
    """A snapshot taken in the life of Redis that is known."""
    text = f"{epoch}.{seq}".encode()
    return Snapshot(id, Version(epoch, seq), schema, text, shared.incarnations.of(id))


async def test_miss_is_none(shared: Shared) -> None:
    assert await shared.tier.get(K, "n") is None


async def test_body_comes_back_exactly(shared: Shared) -> None:
    await shared.learn()
    put = replace(body(shared, 3), body=b"\x00\xff{}")
    assert await shared.tier.put(K, [put]) == 1
    assert await shared.tier.get(K, "n") == SharedCopy(put, True)


async def test_kinds_do_not_meet(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 3)])
    assert await shared.tier.get("bot", "n") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [((7, 5), (7, 4)), ((7, 5), (7, 5)), ((8, 1), (7, 9))],
    ids=["older seq", "the same", "older epoch"],
)
async def test_only_newer_is_stored(
    shared: Shared, first: tuple[int, int], second: tuple[int, int]
) -> None:
    await shared.learn()
    kept = body(shared, first[1], epoch=first[0])
    assert await shared.tier.put(K, [kept]) == 1
    assert await shared.tier.put(K, [body(shared, second[1], epoch=second[0])]) == 0
    assert await shared.tier.get(K, "n") == SharedCopy(kept, True)


async def test_switched_off_newer_guard_puts_an_older_body_over_a_newer_one(
    shared: Shared,
) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 5)])
    assert await shared.made(Guards(newer=False)).put(K, [body(shared, 4)]) == 1
    # The head is a guard of its own: readers still see that something newer was there.
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 4), False)


async def test_newer_replaces(shared: Shared) -> None:
    await shared.learn()
    for seq in (9, 10, 11):
        assert await shared.tier.put(K, [body(shared, seq)]) == 1
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 11), True)


async def test_older_release_does_not_write_over_a_newer_schema(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 1, schema=3)])
    assert await shared.tier.put(K, [body(shared, 2, schema=2)]) == 0


async def test_many_at_once_over_all_partitions(shared: Shared) -> None:
    await shared.learn()
    bodies = [body(shared, 1, id=f"n{i}") for i in range(100)]
    assert await shared.tier.put(K, bodies) == 100
    copies = [await shared.tier.get(K, f"n{i}") for i in range(100)]
    assert copies == [SharedCopy(one, True) for one in bodies]


async def test_nothing_at_once(shared: Shared) -> None:
    assert await shared.tier.put(K, []) == 0


async def test_body_below_an_announced_head_is_only_a_base(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 3)])
    await shared.bus.publish("server-a", [Announcement(K, "n", Version(7, 4))])
    copy = await shared.tier.get(K, "n")
    assert copy == SharedCopy(body(shared, 3), False)
    await shared.tier.put(K, [body(shared, 4)])
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 4), True)


async def test_head_that_was_announced_first_refuses_an_older_body_as_answer(
    shared: Shared,
) -> None:
    await shared.learn()
    await shared.bus.publish("server-a", [Announcement(K, "n", Version(7, 4))])
    assert await shared.tier.get(K, "n") is None
    await shared.tier.put(K, [body(shared, 3)])
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 3), False)


async def test_late_announcement_of_an_older_version_lowers_nothing(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 5)])
    await shared.bus.publish("server-a", [Announcement(K, "n", Version(7, 4))])
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 5), True)


async def test_body_of_unknown_incarnation_is_only_a_base(shared: Shared) -> None:
    await shared.tier.put(K, [body(shared, 3)])
    copy = await shared.tier.get(K, "n")
    assert copy is not None
    assert not copy.current
    await shared.learn()
    copy = await shared.tier.get(K, "n")
    assert copy is not None
    assert not copy.current


async def test_body_of_another_life_is_only_a_base(shared: Shared) -> None:
    """FLUSHALL took the heads with it: what was loaded before may be older than what they said."""
    await shared.learn()
    before = body(shared, 3)
    await shared.clear()
    await shared.learn()
    await shared.tier.put(K, [before])
    assert await shared.tier.get(K, "n") == SharedCopy(before, False)
    # The same version taken in this life is an answer again.
    assert await shared.tier.put(K, [body(shared, 3)]) == 1
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 3), True)


async def test_deleted_body_is_a_miss_and_its_head_stays(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 5)])
    await shared.tier.delete(K, ["n", "missing"])
    assert await shared.tier.get(K, "n") is None
    await shared.tier.put(K, [body(shared, 4)])
    assert await shared.tier.get(K, "n") == SharedCopy(body(shared, 4), False)


async def test_no_answer_is_an_error_and_never_a_miss(shared: Shared) -> None:
    await shared.switch_off()
    with pytest.raises(SharedTierUnavailable):
        await shared.tier.get(K, "n")
    with pytest.raises(SharedTierUnavailable):
        await shared.tier.put(K, [body(shared, 1)])
    with pytest.raises(SharedTierUnavailable):
        await shared.tier.delete(K, ["n"])


async def test_rearmed_bodies_have_their_whole_time_again(shared: Shared) -> None:
    await shared.learn()
    ids = [f"n{number}" for number in range(2500)]
    await shared.tier.put(K, [body(shared, 1, id=id) for id in ids])
    for id in ids[::500]:
        await shared.age(id)
    assert await shared.tier.rearm() == len(ids)
    for id in ids[::500]:
        assert await shared.left_s(id) > 800


async def test_one_server_rearms_for_all_of_them(shared: Shared) -> None:
    await shared.learn()
    await shared.tier.put(K, [body(shared, 1)])
    assert await shared.tier.rearm() == 1
    assert await shared.made().rearm() is None


async def test_bus_that_never_expires_does_not_begin_to(shared: Shared) -> None:
    await shared.bus.publish("a", [Announcement(K, "n", Version(7, 1))])
    before = await shared.bus.positions()
    await shared.tier.rearm()
    assert await shared.bus.positions() == before


async def test_crowd_of_readers_is_answered_to_the_last(shared: Shared) -> None:
    """There are fewer connections; without L3 nobody else could answer."""
    await shared.learn()
    await shared.tier.put(K, [body(shared, 1)])
    copies = await asyncio.gather(*(shared.tier.get(K, "n") for _ in range(500)))
    assert copies == [SharedCopy(body(shared, 1), True)] * 500
