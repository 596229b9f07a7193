"""Lives of Redis and timelines of PostgreSQL: what belongs to another one is never an answer."""

import asyncio
from collections.abc import Sequence
from copy import copy

import pytest

from src.invalidation.messages import Message
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.keys import partition_of
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster


def test_partition_is_of_no_life_until_it_was_learnt() -> None:
    incarnations = Incarnations()
    assert incarnations.of("n") == ""
    assert incarnations.learn(partition_of("n"), "first")
    assert not incarnations.learn(partition_of("n"), "first")
    assert incarnations.learn(partition_of("n"), "second")
    assert incarnations.of("n") == incarnations.get(partition_of("n")) == "second"


@virtual_time
async def test_numbers_of_an_ended_life_swallow_no_message_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis is cleared, and a pull learns it, while a gap of its former life is replayed."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        replay, arrived = b.bus.replay, asyncio.Event()

        async def slow_replay(partition: int, after: int, upto: int) -> Sequence[Message] | None:
            messages = await replay(partition, after, upto)
            await arrived.wait()
            return messages

        await a.write("n", "0")
        await b.lines("n")
        monkeypatch.setattr(b.bus, "replay", slow_replay)
        deaf = dict(cluster.space.subscriptions)
        cluster.space.subscriptions.clear()
        for line in range(1, 40):
            await a.write("n", f"{line}")
        cluster.space.subscriptions |= deaf
        await a.write("n", "last of the old life")
        await settle()
        assert b.listener.gaps == 1
        cluster.space.clear()
        await b.listener.pull()
        arrived.set()
        await advance(1)
        await b.lines("n")
        ack = await a.write("n", "first of the new life")
        await advance(2.1)
        read = await b.read("n")
        assert (read.entry.version, read.stale_s) == (ack.version, None)


@virtual_time
async def test_bodies_folded_from_a_lost_timeline_are_bases() -> None:
    """PostgreSQL failed over to a standby that never had the last event."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "lost with the old primary")
        await advance(6)
        database = cluster.database
        database.timeline = 2
        database.events["events"]["n"].pop()
        database.heads["conversations"]["n"].seq = 1
        database.snapshots["snapshots"].clear()
        await advance(5)
        async with cluster.open("b") as [b]:
            await advance(1)
            read = await b.read("n")
            assert (read.entry.state.lines, read.stale_s) == (("one",), None)
        assert await a.lines("n") == ("one",)
        assert (await a.write("n", "two")).version.seq == 2
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_body_of_an_old_dump_is_a_base_before_the_next_pull() -> None:
    """It is of the very life of Redis that every server knows until then."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(2.1)
        dump = {name: copy(cell) for name, cell in cluster.space.cells.items()}
        ack = await a.write("n", "two")
        async with cluster.open("cold") as [cold]:
            await advance(5.1)
            cluster.space.cells = dump
            cluster.space.restart()
            await settle()
            read = await cold.read("n")
        assert (read.entry.version, read.stale_s) == (ack.version, None)


@virtual_time
async def test_what_is_learnt_by_a_question_asked_before_a_doubt_ends_no_doubt() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await advance(1)
        a.bus_link.hold_answers()
        pulling = asyncio.ensure_future(a.listener.pull())
        await settle()
        cluster.space.restart()
        await settle()
        a.bus_link.release()
        await pulling
        assert a.incarnations.of("n") == ""
        await advance(1)
        assert a.incarnations.of("n") != ""


@virtual_time
async def test_body_made_before_redis_was_cleared_and_put_after_it_is_a_base() -> None:
    """Nobody knows any more whether something newer was announced."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.log_link.hold()
        await advance(2.1)
        cluster.space.clear()
        await advance(1)
        a.log_link.release()
        await settle()
        copy = await a.shared.get("notebook", "n")
        assert copy is not None
        assert not copy.current
