"""What `Registry` promises, in memory and in PostgreSQL."""

import pytest

from src.state.errors import DurableTierUnavailable
from src.state.guards import Guards
from src.state.models import Announcement, Peer, Places, Version
from src.state.protocols import PULLED, Registry
from tests.contracts.conftest import Durable

A, B = "server-a", "server-b"


async def peer(registry: Registry, server_id: str) -> Peer:
    (found,) = [peer for peer in (await registry.pull(0)).peers if peer.id == server_id]
    return found


async def test_registered_server_is_seen_by_the_others(durable: Durable) -> None:
    await durable.registry().register(A, "http://a")
    assert await peer(durable.registry(), A) == Peer(A, "http://a", 0, True, False)


async def test_beat_counts(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    assert [await registry.beat(A) for _ in range(3)] == [True] * 3
    assert (await peer(registry, A)).beat == 3


async def test_beat_says_what_places_a_server_has(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    before = (await peer(registry, A)).places
    await registry.beat(A, Places(10, 3))
    during = (await peer(registry, A)).places
    await registry.beat(A)
    after = (await peer(registry, A)).places

    assert [before, during, after] == [Places(0, 0), Places(10, 3), Places(0, 0)]


async def test_unknown_server_cannot_beat(durable: Durable) -> None:
    assert await durable.registry().beat("nobody") is False


async def test_server_whose_beat_stood_still_can_be_declared_dead(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    await registry.beat(A)
    assert await registry.declare_dead(A, 1) is True
    assert (await peer(registry, A)).dead
    assert await registry.beat(A) is False


async def test_server_whose_beat_moved_cannot_be_declared_dead(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    await registry.beat(A)
    await registry.beat(A)
    assert await registry.declare_dead(A, 1) is False
    assert await registry.beat(A) is True


async def test_switched_off_beat_guard_declares_who_has_beaten_dead(durable: Durable) -> None:
    registry = durable.registry(Guards(beat=False))
    await registry.register(A, "http://a")
    await registry.beat(A)
    assert [await registry.declare_dead(A, 0) for _ in range(2)] == [True, False]


async def test_death_is_declared_once(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    assert [await registry.declare_dead(A, 0) for _ in range(2)] == [True, False]


async def test_who_leaves_is_dead(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    await registry.leave(A)
    assert (await peer(registry, A)).dead


async def test_silence_is_told(durable: Durable) -> None:
    registry = durable.registry()
    await registry.register(A, "http://a")
    await registry.set_announces(A, False)
    assert not (await peer(registry, A)).announces
    await registry.set_announces(A, True)
    assert (await peer(registry, A)).announces


async def test_pull_reads_the_outbox_on(durable: Durable) -> None:
    registry = durable.registry()
    changes = [Announcement("bot", f"b{n}", Version(0, n)) for n in (1, 2, 3)]
    assert (await registry.pull(0)).changes == ()
    for change in changes[:2]:
        await durable.commit_change(change)
    first = await registry.pull(0)
    assert [change.announcement for change in first.changes] == changes[:2]
    await durable.commit_change(changes[2])
    second = await registry.pull(first.outbox_position)
    assert [change.announcement for change in second.changes] == changes[2:]
    positions = [change.position for change in (*first.changes, *second.changes)]
    assert positions == sorted(set(positions))
    assert positions[-1] == second.outbox_position
    third = await registry.pull(second.outbox_position)
    assert (third.changes, third.outbox_position) == ((), second.outbox_position)


async def test_pull_that_was_cut_short_says_so(durable: Durable) -> None:
    registry = durable.registry()
    before = (await registry.pull(0)).outbox_position
    for n in range(PULLED + 1):
        await durable.commit_change(Announcement("bot", f"b{n}", Version(0, 1)))
    first = await registry.pull(before)
    rest = await registry.pull(first.outbox_position)
    assert (len(first.changes), first.more) == (PULLED, True)
    assert ([change.announcement.id for change in rest.changes], rest.more) == (
        [f"b{PULLED}"],
        False,
    )


async def test_timeline_stands_still_while_the_database_does(durable: Durable) -> None:
    registry = durable.registry()
    assert (await registry.pull(0)).timeline == (await registry.pull(0)).timeline > 0


async def test_no_answer_is_an_error(durable: Durable) -> None:
    registry = durable.registry()
    await durable.switch_off()
    with pytest.raises(DurableTierUnavailable):
        await registry.register(A, "http://a")
    with pytest.raises(DurableTierUnavailable):
        await registry.beat(A)
    with pytest.raises(DurableTierUnavailable):
        await registry.declare_dead(A, 1)
    with pytest.raises(DurableTierUnavailable):
        await registry.set_announces(A, False)
    with pytest.raises(DurableTierUnavailable):
        await registry.pull(0)
    with pytest.raises(DurableTierUnavailable):
        await registry.leave(A)
