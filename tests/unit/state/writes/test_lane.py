"""Lanes that close while somebody waits, and lanes that several ask for: nobody is left behind."""

import asyncio

import pytest

from src.state.errors import NotFound, OwnershipLost
from src.state.models import Announcement, Durability, Version
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.kinds import Write


def hear_of_a_newer_owner(server: Server, id: str) -> None:
    """Tell a server that somebody wrote under a higher epoch than its own."""
    lane = server.notebooks.holdings.find(id)
    assert lane is not None
    newer = Version(lane.epoch + 1, lane.version.seq + 1)
    server.heard(Announcement("notebook", id, newer))


@virtual_time
async def test_command_that_waits_behind_a_batch_is_turned_away_when_its_lane_closes() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("m", "one")
        a.log_link.hold()
        in_flight = asyncio.ensure_future(a.write("m", "two"))
        await settle()
        waiting = asyncio.ensure_future(a.write("n", "two"))
        await settle()
        hear_of_a_newer_owner(a, "n")
        await settle()
        taken_anew = asyncio.ensure_future(a.write("n", "three"))
        await settle()
        a.log_link.release()
        with pytest.raises(OwnershipLost):
            await waiting
        assert (await in_flight).version.seq == 2
        assert (await taken_anew).version.seq == 2
        assert a.notebooks.commit.waiting == 0
    assert cluster.texts("n") == ["one", "three"]


@virtual_time
async def test_buffered_change_is_not_acknowledged_on_a_lane_that_closed_as_it_came() -> None:
    """Between the load of a state and the turn of whoever waited for it another server took it."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.drain()
        writing = asyncio.ensure_future(a.write("n", "two", durability=Durability.BUFFERED))
        while a.notebooks.holdings.find("n") is None:
            assert not writing.done()
            await asyncio.sleep(0)
        hear_of_a_newer_owner(a, "n")
        with pytest.raises(OwnershipLost):
            await writing
        await advance(6)
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_creation_is_not_refused_because_somebody_asked_before_it_was_there() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        a.owner_link.hold()
        asking = asyncio.ensure_future(
            a.notebooks.submit("n", Write(("no",)), key="no", actor="ada", create=False)
        )
        await settle()
        creating = asyncio.ensure_future(a.write("n", "one"))
        await settle()
        a.owner_link.release()
        assert (await creating).version.seq == 1
        with pytest.raises(NotFound):
            await asking
    assert cluster.texts("n") == ["one"]


@virtual_time
async def test_many_who_ask_for_what_is_not_there_are_all_told_so() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        asked = await asyncio.gather(
            *(
                a.notebooks.submit("n", Write(("no",)), key=f"{i}", actor="ada", create=False)
                for i in range(5)
            ),
            return_exceptions=True,
        )
    assert [type(answer) for answer in asked] == [NotFound] * 5
    assert cluster.texts("n") == []
