"""What `Ownership` promises, in memory and in PostgreSQL."""

import asyncio

import pytest

from src.state.errors import DurableTierUnavailable
from src.state.guards import Guards
from src.state.models import Held, OwnedBy, Version
from tests.contracts.conftest import Durable
from tests.support.kinds import GOES_ON, claim, notebook

A, B = "server-a", "server-b"


@pytest.fixture
async def living(durable: Durable) -> Durable:
    for server_id in (A, B):
        await durable.registry().register(server_id, f"http://{server_id}")
    return durable


async def held(durable: Durable, server_id: str, id: str) -> Held:
    answer = await durable.ownership().acquire(server_id, id, create=True)
    assert isinstance(answer, Held)
    return answer


async def test_missing_row_is_none_unless_asked_to_create(living: Durable) -> None:
    ownership = living.ownership()
    assert await ownership.acquire(A, "n", create=False) is None
    assert (await held(living, A, "n")).seq == 0


async def test_owned_row_names_its_owner(living: Durable) -> None:
    mine = await held(living, A, "n")
    for create in (True, False):
        answer = await living.ownership().acquire(B, "n", create=create)
        assert answer == OwnedBy(A, mine.epoch, 0)


async def test_every_acquire_raises_the_epoch(living: Durable) -> None:
    first, second = await held(living, A, "n"), await held(living, A, "n")
    assert second.epoch == first.epoch + 1


async def test_earlier_epoch_of_the_same_server_cannot_write(living: Durable) -> None:
    first = await held(living, A, "n")
    await held(living, A, "n")
    assert await living.log().append(A, [claim("n", first.epoch, 0, "x")]) == frozenset()


async def test_epoch_lies_above_the_timeline(living: Durable) -> None:
    timeline = (await living.registry().pull(0)).timeline
    assert timeline > 0
    assert (await held(living, A, "n")).epoch >= timeline << 32


async def test_switched_off_timeline_guard_lets_epochs_only_count_up(living: Durable) -> None:
    ownership = living.ownership(Guards(timeline=False))
    assert await ownership.acquire(A, "n", create=True) == Held(0, 0)
    assert await ownership.acquire(A, "n", create=False) == Held(1, 0)


async def test_dead_owner_is_replaced(living: Durable) -> None:
    first = await held(living, A, "n")
    await living.log().append(A, [claim("n", first.epoch, 0, "x", "y")])
    await living.registry().leave(A)
    assert await living.ownership().acquire(B, "n", create=False) == Held(first.epoch + 1, 2)
    assert await living.log().append(A, [claim("n", first.epoch, 2, "late")]) == frozenset()


async def test_owner_that_was_never_registered_is_replaced(living: Durable) -> None:
    await held(living, "ghost", "n")
    assert isinstance(await living.ownership().acquire(B, "n", create=False), Held)


async def test_released_row_is_free(living: Durable) -> None:
    mine = await held(living, A, "n")
    await living.ownership().release(A, {"n": mine.epoch})
    assert await living.ownership().acquire(B, "n", create=False) == Held(mine.epoch + 1, 0)


async def test_released_epoch_cannot_write(living: Durable) -> None:
    mine = await held(living, A, "n")
    await living.ownership().release(A, {"n": mine.epoch})
    assert await living.log().append(A, [claim("n", mine.epoch, 0, "x")]) == frozenset()


@pytest.mark.parametrize(("who", "older"), [(B, 0), (A, 1)], ids=["another's", "an older epoch's"])
async def test_release_touches_only_ones_own(living: Durable, who: str, older: int) -> None:
    mine = await held(living, A, "n")
    await living.ownership().release(who, {"n": mine.epoch - older, "missing": 1})
    assert isinstance(await living.ownership().acquire(B, "n", create=False), OwnedBy)


async def test_one_of_many_wins(living: Durable) -> None:
    servers = [f"server-{n}" for n in range(8)]
    for server_id in servers:
        await living.registry().register(server_id, "http://x")
    answers = await asyncio.gather(
        *(living.ownership().acquire(server_id, "n", create=True) for server_id in servers)
    )
    assert sum(isinstance(answer, Held) for answer in answers) == 1


async def test_takeover_reads_every_append_that_was_answered(living: Durable) -> None:
    """Fence first, read second: what the old owner was told is in, the new one finds."""
    mine = await held(living, A, "n")
    log, ownership = living.log(), living.ownership()
    taken, seq = frozenset({"n"}), 0
    takeover = None
    while taken:
        taken = await log.append(A, [claim("n", mine.epoch, seq, f"line {seq}")])
        seq += len(taken)
        if seq == 20:
            await living.registry().leave(A)
            takeover = asyncio.ensure_future(ownership.acquire(B, "n", create=False))
    assert takeover is not None
    answer = await takeover
    assert isinstance(answer, Held)
    assert answer.seq == seq == len(await log.tail("n", 1))


async def test_orphans_are_what_a_server_left_unsnapshotted(living: Durable) -> None:
    log, ownership = living.log(), living.ownership()
    for id in ("clean", "dirty", "older snapshot", "untouched", "of b"):
        epoch = (await held(living, B if id == "of b" else A, id)).epoch
        if id != "untouched":
            await log.append(B if id == "of b" else A, [claim(id, epoch, 0, "x", "y")])
        if id == "clean":
            await log.save([notebook(id, Version(epoch, 2), "x", "y")])
        if id == "older snapshot":
            await log.save([notebook(id, Version(epoch, 1), "x")])
    assert list(await ownership.orphans(A, "", 10)) == ["dirty", "older snapshot"]
    assert list(await ownership.orphans(A, "", 1)) == ["dirty"]
    assert list(await ownership.orphans(A, "dirty", 10)) == ["older snapshot"]


async def test_live_ones_are_orphans_although_they_are_snapshotted(living: Durable) -> None:
    log, ownership = living.log(), living.ownership()
    for id, line in (("live", GOES_ON), ("quiet", "x")):
        epoch = (await held(living, A, id)).epoch
        await log.append(A, [claim(id, epoch, 0, line)])
        await log.save([notebook(id, Version(epoch, 1), line)])
    assert list(await ownership.orphans(A, "", 10)) == ["live"]


async def test_given_row_is_the_other_servers_under_the_next_epoch(living: Durable) -> None:
    mine = await held(living, A, "n")
    await living.log().append(A, [claim("n", mine.epoch, 0, "x")])
    assert await living.ownership().hand_over(A, {"n": mine.epoch}, B) == {"n"}
    assert await living.log().append(A, [claim("n", mine.epoch, 1, "late")]) == frozenset()
    answer = await living.ownership().acquire(A, "n", create=False)
    assert answer == OwnedBy(B, mine.epoch + 1, 1)
    assert await living.ownership().acquire(B, "n", create=False) == Held(mine.epoch + 2, 1)


@pytest.mark.parametrize(("who", "older"), [(B, 0), (A, 1)], ids=["another's", "an older epoch's"])
async def test_only_ones_own_row_can_be_given(living: Durable, who: str, older: int) -> None:
    mine = await held(living, A, "n")
    held_by = {"n": mine.epoch - older, "missing": 1}
    assert await living.ownership().hand_over(who, held_by, B) == frozenset()
    assert isinstance(await living.ownership().acquire(B, "n", create=False), OwnedBy)


async def test_nothing_is_given_to_a_server_that_does_not_live(living: Durable) -> None:
    mine = await held(living, A, "n")
    await living.registry().leave(B)
    for to in (B, "never there"):
        assert await living.ownership().hand_over(A, {"n": mine.epoch}, to) == frozenset()
    await living.ownership().release(A, {"n": mine.epoch})
    assert isinstance(await living.ownership().acquire(A, "n", create=False), Held)


async def test_no_answer_is_an_error(durable: Durable) -> None:
    ownership = durable.ownership()
    await durable.switch_off()
    with pytest.raises(DurableTierUnavailable):
        await ownership.acquire(A, "n", create=True)
    with pytest.raises(DurableTierUnavailable):
        await ownership.release(A, {"n": 1})
    with pytest.raises(DurableTierUnavailable):
        await ownership.orphans(A, "", 1)
    with pytest.raises(DurableTierUnavailable):
        await ownership.hand_over(A, {"n": 1}, B)
