"""Telling: over the bus, else over notices, and L3 knows which."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from src.state.buffers import Buffer
from src.state.errors import DurableTierUnavailable
from src.state.models import Announcement, Version
from src.state.tiers.keys import partition_of
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server


def change(seq: int, id: str = "n") -> Announcement:
    return Announcement("notebook", id, Version(1, seq))


async def joined(cluster: Cluster) -> Server:
    server = cluster.server()
    await server.membership.join()
    return server


def announces(cluster: Cluster, server: Server) -> bool:
    return cluster.database.servers[server.id].announces


@asynccontextmanager
async def healing(server: Server) -> AsyncIterator[None]:
    task = asyncio.ensure_future(server.announcer.heal_for_ever())
    try:
        yield
    finally:
        task.cancel()


async def told(cluster: Cluster, server: Server) -> list[Announcement]:
    """What stands on the bus."""
    partition = partition_of("n")
    upto = cluster.space.counters[partition].n
    messages = await server.bus.replay(partition, 0, upto) or ()
    return [one for message in messages for one in message.changes]


@virtual_time
async def test_change_goes_over_the_bus() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    await server.announcer.publish([change(1)])
    assert await told(cluster, server) == [change(1)]
    assert (server.announcer.published, server.announcer.fallbacks) == (1, 0)
    assert announces(cluster, server)


@virtual_time
async def test_bus_away_is_said_in_l3_before_the_change_goes_out_as_a_notice() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    cluster.space.available = False
    async with server.notices.subscribe() as messages:
        await server.announcer.publish([change(1)])
        assert not announces(cluster, server)
        assert (await anext(messages)).changes == (change(1),)
    assert server.announcer.fallbacks == 1


@virtual_time
async def test_both_stores_away_is_an_error_so_that_nobody_acks() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    cluster.space.available = cluster.database.available = False
    with pytest.raises(DurableTierUnavailable):
        await server.announcer.publish([change(1)])


@virtual_time
async def test_bus_that_is_back_hears_what_only_notices_told_before_the_silence_ends() -> None:
    """Its heads would else be too low for ever."""
    cluster = Cluster()
    server = await joined(cluster)
    async with healing(server):
        cluster.space.available = False
        for seq in (1, 2):
            await server.announcer.publish([change(seq)])
        await server.announcer.publish([change(1, "m")])
        await advance(5)
        assert not announces(cluster, server)
        cluster.space.available = True
        server.beat_link.hold()
        await advance(2)
        heads = {id: cell.head.seq for (_, id), cell in cluster.space.cells.items()}
        assert heads == {"n": 2, "m": 1}
        assert not announces(cluster, server)
        server.beat_link.release()
        await advance(2)
        assert announces(cluster, server)


@virtual_time
async def test_more_than_can_be_remembered_begins_another_life_of_the_bus() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    async with healing(server):
        lives = {counter.incarnation for counter in cluster.space.counters}
        cluster.space.available = False
        await server.announcer.publish([change(1, f"n{i}") for i in range(10_000)])
        assert server.announcer.buffers()["untold"] == Buffer(10_000, 10_000, 0)
        await server.announcer.publish([change(1, "one more")])
        assert server.announcer.buffers()["untold"] == Buffer(0, 10_000, 10_001)
        cluster.space.available = True
        await advance(2)
        assert announces(cluster, server)
        assert not lives & {counter.incarnation for counter in cluster.space.counters}


@virtual_time
async def test_bus_goes_on_with_its_life_unless_more_was_missed_than_can_be_remembered() -> None:
    cluster = Cluster()
    server = await joined(cluster)

    async def miss(count: int) -> None:
        cluster.space.available = False
        await server.announcer.publish([change(1, f"n{n}") for n in range(count)])
        cluster.space.available = True

    async def lives() -> set[str]:
        return {position.incarnation for position in await server.bus.positions()}

    before = await lives()
    await miss(1)
    await server.announcer.heal()
    assert await lives() == before
    await miss(10_001)
    await server.announcer.heal()
    after = await lives()
    assert after.isdisjoint(before)
    await miss(1)
    await server.announcer.heal()
    assert await lives() == after


@virtual_time
async def test_change_during_the_recovery_is_told_one_way_or_the_other() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    async with healing(server):
        server.bus_link.up = False
        await server.announcer.publish([change(1)])
        server.bus_link.up = True
        server.bus_link.hold_answers()
        await advance(1.1)
        publishing = asyncio.ensure_future(server.announcer.publish([change(2)]))
        await settle()
        server.bus_link.release()
        await publishing
        await advance(2)
        assert announces(cluster, server)
        assert cluster.space.cells["notebook", "n"].head.seq == 2


@virtual_time
async def test_recovery_that_l3_did_not_confirm_is_tried_again() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    async with healing(server):
        cluster.space.available = False
        await server.announcer.publish([change(1)])
        cluster.space.available = True
        server.beat_link.lost_answers = 1
        await advance(0.6)
        cluster.space.available = False
        await server.announcer.publish([change(2)])
        assert not announces(cluster, server)
        cluster.space.available = True
        await advance(2)
        assert announces(cluster, server)
        assert cluster.space.cells["notebook", "n"].head.seq == 2


@virtual_time
async def test_server_that_was_deposed_while_the_bus_was_away_says_so_again() -> None:
    cluster = Cluster()
    server = await joined(cluster)
    cluster.space.available = False
    await server.announcer.publish([change(1)])
    cluster.database.servers[server.id].dead = True
    await server.membership._begin_again()
    assert announces(cluster, server)
    await server.announcer.publish([change(2)])
    assert not announces(cluster, server)


@virtual_time
async def test_silence_ends_by_itself_when_the_bus_is_back() -> None:
    """A server that writes nothing more must not keep all others probing for ever."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        cluster.space.available = False
        await a.write("n", "two")
        await advance(3)
        assert b.membership.silent() == (a.id,)
        cluster.space.available = True
        cluster.space.restart()
        await advance(5)
        assert b.membership.silent() == ()
        await b.read("n")
        assert b.store.peek("n") is not None
