"""Two ways to be told, over Redis and over PostgreSQL: whichever fails, no old copy is fresh.

What is told by a notice alone raises no head in Redis, so a body there may be at its head and old.
"""

import asyncio

import pytest

from src.state.models import Read
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.kinds import Notebook


def cut_notices(cluster: Cluster, *servers: Server) -> None:
    """Break the listening sessions; these servers cannot open new ones."""
    for server in servers:
        server.notice_link.up = False
    for queue in list(cluster.database.listeners):
        queue.put_nowait(None)


def set_redis(server: Server, up: bool) -> None:
    """Cut one server off from Redis, or let it back."""
    server.bus_link.up = server.shared_link.up = up


def is_honest(read: Read[Notebook], *lines: str) -> bool:
    """Labelled, or with all that was acknowledged."""
    return read.stale_s is not None or read.entry.state.lines == lines


@virtual_time
async def test_change_told_by_notice_alone_is_known_after_redis_is_back() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.write("m", "one")
        assert await b.lines("n") == ("one",)
        cut_notices(cluster, b)
        await advance(0.3)
        a.bus_link.up = False
        await a.write("n", "two")
        a.bus_link.up = True
        await a.write("m", "two")
        # Within the two seconds of the promise any answer will do, afterwards only the true one.
        await advance(2.0)
        for _ in range(20):
            assert is_honest(await b.read("n"), "one", "two")
            await advance(0.5)


@virtual_time
async def test_body_in_l2_is_no_answer_after_a_change_that_redis_was_not_told() -> None:
    """A server that starts later finds the body of before, and no head above it."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(3)
        set_redis(a, up=False)
        await a.write("n", "two")
        await advance(3)
        set_redis(a, up=True)
        await a.write("m", "x")
        async with cluster.open("b") as [b]:
            for _ in range(20):
                assert is_honest(await b.read("n"), "one", "two")
                await advance(1)


@virtual_time
async def test_body_in_l2_is_no_answer_while_a_server_does_not_announce() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(3)
        set_redis(a, up=False)
        await a.write("n", "two")
        await advance(3)
        async with cluster.open("b") as [b]:
            await advance(5)
            assert b.membership.silent() == (a.id,)
            assert is_honest(await b.read("n"), "one", "two")


@pytest.mark.parametrize("farewell", [True, False])
@virtual_time
async def test_body_in_l2_is_no_answer_after_a_silent_server_is_gone(farewell: bool) -> None:
    """Neither before somebody else makes good for it, nor after."""
    cluster = Cluster()
    # At any moment there is one that was not read before.
    ids = [f"n{i}" for i in range(24)]
    async with cluster.open("a") as [a], cluster.open("b") as [b]:
        for id in ids:
            await a.write(id, "one")
        await advance(3)
        cut_notices(cluster, b)
        await advance(0.3)
        set_redis(a, up=False)
        for id in ids:
            await a.write(id, "two")
        await a.notebooks.writebehind.flush_all()
        await advance(2)
        if farewell:
            await a.membership.leave()
        a.freeze()
        for id in ids:
            assert is_honest(await b.read(id), "one", "two")
            await advance(0.4)
        assert b.membership.silent() == ()
        a.thaw()


@virtual_time
async def test_copies_of_others_are_labelled_while_postgres_cannot_be_asked_who_is_silent() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        assert await b.lines("n") == ("one",)
        b.beat_link.up = b.read_link.up = False
        cut_notices(cluster, b)
        set_redis(a, up=False)
        await a.write("n", "two")
        for _ in range(10):
            await advance(2)
            read = await b.read("n")
            assert (read.entry.state.lines, read.stale_s is None) == (("one",), False)
        b.beat_link.up = b.read_link.up = b.notice_link.up = True
        await advance(2)
        assert await b.lines("n") == ("one", "two")


@virtual_time
async def test_what_was_created_during_a_look_up_is_not_missing_afterwards() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        b.read_link.hold_answers()
        early = asyncio.ensure_future(b.notebooks.read("n"))
        await settle()
        await a.write("n", "one")
        await settle()
        b.read_link.release()
        await early
        assert await b.lines("n") == ("one",)
