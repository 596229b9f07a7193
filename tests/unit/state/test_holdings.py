"""What is owned comes before the first write and goes when it is time."""

import asyncio

import pytest

from src.state.errors import NotOwner, OwnershipLost
from src.state.models import Entry
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import NOTEBOOKS, Notebook, claim


@virtual_time
async def test_thousand_first_writers_acquire_once() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await asyncio.gather(*(a.write("n", f"{i}") for i in range(1000)))
        assert a.owner_link.trips == 1
    assert len(cluster.texts("n")) == 1000


@virtual_time
async def test_other_server_is_told_who_owns() -> None:
    async with Cluster().open("a", "b") as [a, b]:
        await a.write("n", "one")
        with pytest.raises(NotOwner) as caught:
            await b.write("n", "two")
        assert caught.value.server_id == a.id


@virtual_time
async def test_new_owner_goes_on_where_the_log_stands() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.notebooks.drain()
        ack = await b.write("n", "two")
        assert ack.version.seq == 2
        assert await b.lines("n") == ("one", "two")


@virtual_time
async def test_new_owner_flushes_what_the_old_one_left() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await asyncio.gather(*(a.write(f"n{i}", "one") for i in range(20)))
        a.freeze()
        await advance(10)
        assert b.notebooks.holdings.takeovers == 20
        assert [cluster.snapshot(f"n{i}") is not None for i in range(20)] == [True] * 20
        assert cluster.database.heads["conversations"]["n0"].owner_id == b.id
        a.thaw()
        await advance(3)
        assert len(a.notebooks.holdings) == 0


@virtual_time
async def test_survivors_share_what_a_dead_server_left() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b", "c") as [a, b, c]:
        await asyncio.gather(*(a.write(f"n{i}", "one") for i in range(50)))
        a.freeze()
        await advance(12)
        assert b.notebooks.holdings.takeovers + c.notebooks.holdings.takeovers == 50
        assert all(cluster.snapshot(f"n{i}") is not None for i in range(50))
        a.thaw()
        await advance(3)


@virtual_time
async def test_takeover_waits_for_the_database() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        a.freeze()
        await advance(5)
        b.owner_link.up = False
        await advance(10)
        assert b.notebooks.holdings.takeovers == 0
        b.owner_link.up = True
        await advance(5)
        assert b.notebooks.holdings.takeovers == 1
        a.thaw()
        await advance(3)


@virtual_time
async def test_clean_conversations_of_a_dead_server_wait_for_use() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        a.freeze()
        await advance(10)
        assert b.notebooks.holdings.takeovers == 0
        assert (await b.write("n", "two")).version.seq == 2
        a.thaw()
        await advance(3)


@virtual_time
async def test_idle_conversation_is_given_up_and_flushed() -> None:
    cluster = Cluster(idle_release=60)
    async with cluster.open("a", "b") as [a, b]:
        await a.write("idle", "one")
        for _ in range(9):
            await a.write("busy", "more", key=str(a.clock.monotonic()))
            await advance(10)
        assert a.notebooks.holdings.ids() == ["busy"]
        assert cluster.database.heads["conversations"]["idle"].owner_id is None
        assert cluster.snapshot("idle") is not None
        assert (await b.write("idle", "two")).version.seq == 2


@virtual_time
async def test_write_that_meets_the_release_is_taken_or_refused_and_never_lost() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.owner_link.hold()
        releasing = asyncio.ensure_future(a.notebooks.holdings.release_all())
        await settle()
        writing = asyncio.ensure_future(a.write("n", "two"))
        await settle()
        a.owner_link.release()
        await releasing
        assert (await writing).version.seq == 2
        assert (await a.write("n", "three")).version.seq == 3
    assert cluster.texts("n") == ["one", "two", "three"]


@virtual_time
async def test_drained_server_owns_nothing_and_has_flushed_everything() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await asyncio.gather(*(a.write(f"n{i}", "one") for i in range(100)))
        await a.notebooks.drain()
        assert len(a.notebooks.holdings) == 0
        assert len(a.notebooks.writebehind) == 0
    heads = cluster.database.heads["conversations"].values()
    assert {head.owner_id for head in heads} == {None}
    assert all(cluster.snapshot(f"n{i}") is not None for i in range(100))


@virtual_time
async def test_acquisition_that_was_overtaken_is_lost() -> None:
    """The row went to somebody else while the state was loaded."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.drain()
        a.read_link.hold()
        writing = asyncio.ensure_future(a.write("n", "late"))
        await settle()
        head = cluster.database.heads["conversations"]["n"]
        head.owner_id, head.epoch = "other", head.epoch + 1
        cluster.database.events["events"]["n"] += claim("n", head.epoch, 1, "two").events
        head.seq = 2
        a.read_link.release()
        with pytest.raises(OwnershipLost):
            await writing
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_who_becomes_owner_is_told_with_the_state() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        told: list[Entry[Notebook]] = []
        b.notebooks.holdings.owned.append(told.append)
        await a.write("n", "one")
        await a.notebooks.drain()
        await b.write("n", "two")
        assert [NOTEBOOKS.encode_state(entry.state) for entry in told] == [b'{"lines":["one"]}']
