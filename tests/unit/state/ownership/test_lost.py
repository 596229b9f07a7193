"""What a failover cuts off is reported, never served, and never written over."""

import pytest
from structlog.testing import capture_logs

from src.state.errors import Behind, DurableTierUnavailable, OwnershipLost
from src.state.models import Version
from src.state.tiers.memory_database import MemoryDatabase
from tests.support.clock import advance, virtual_time
from tests.support.cluster import Cluster


def fail_over(database: MemoryDatabase, id: str, keep: int) -> None:
    """Go on with a standby that had received only the first events of one notebook."""
    del database.events["events"][id][keep:]
    database.heads["conversations"][id].seq = keep
    snapshot = database.snapshots["snapshots"].get(id)
    if snapshot is not None and snapshot.version.seq > keep:
        del database.snapshots["snapshots"][id]
        del database.read_models["conversation_summaries"][id]
    database.timeline += 1


@virtual_time
async def test_acked_writes_of_a_lost_branch_are_named_by_owner_and_reader() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        for line in ("one", "two", "three"):
            acked = await a.write("cut", line)
            await a.write("whole", line)
        await b.lines("cut")
        with capture_logs() as logs:
            fail_over(cluster.database, "cut", keep=1)
            await advance(2)
        found = Version(acked.version.epoch, 1)
        for server in (a, b):
            (lost,) = server.notebooks.lost.latest
            assert (lost.id, lost.known, lost.found) == ("cut", acked.version, found)
        told = [line for line in logs if line["event"] == "failover.lost"]
        assert [(line["id"], line["known"]) for line in told] == [("cut", acked.version.token)] * 2


@virtual_time
async def test_reads_and_writes_go_on_along_the_surviving_branch() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        for line in ("one", "two", "three"):
            acked = await a.write("n", line)
        assert await b.lines("n") == ("one", "two", "three")
        fail_over(cluster.database, "n", keep=1)
        await advance(2)
        for server in (a, b):
            assert await server.lines("n") == ("one",)
            assert (await server.read("n")).stale_s is None
        again = await a.write("n", "another")
        assert again.version.seq == 2
        assert again.version.epoch >= cluster.database.timeline << 32
        assert again.version > acked.version
        await advance(1)
        for server in (a, b):
            assert await server.lines("n") == ("one", "another")


@virtual_time
async def test_who_asks_for_a_lost_version_is_shown_what_there_is() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        acked = await a.write("n", "two")
        with pytest.raises(Behind):
            await b.read("n", at_least=Version(acked.version.epoch, 3))
        fail_over(cluster.database, "n", keep=1)
        await advance(2)
        for server in (a, b):
            read = await server.read("n", at_least=acked.version)
            assert (read.entry.state.lines, read.stale_s) == (("one",), None)
            assert server.store.peek("n") is not None, "and it is cached again"
            with pytest.raises(Behind):
                await server.read("n", at_least=Version(cluster.database.timeline << 32, 2))
            # Without an answer of the log nobody can say that it is gone.
            server.read_link.up = False
            with pytest.raises((Behind, DurableTierUnavailable)):
                await server.read("n", at_least=acked.version)
            server.read_link.up = True


@virtual_time
async def test_key_of_a_lost_write_is_taken_anew() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, _]:
        await a.write("n", "one")
        await a.write("n", "two", key="k")
        fail_over(cluster.database, "n", keep=1)
        await advance(2)
        again = await a.write("n", "two", key="k")
        assert (again.version.seq, again.repeated) == (2, False)
    assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_owner_that_writes_before_it_has_noticed_forks_nothing_and_still_reports() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        for line in ("one", "two", "three"):
            acked = await a.write("n", line)
        fail_over(cluster.database, "n", keep=1)
        with pytest.raises(OwnershipLost):
            await a.write("n", "too soon")
        assert (await a.write("n", "two anew")).version.seq == 2
        await advance(2)
        assert [lost.known for lost in a.notebooks.lost.latest] == [acked.version]


@virtual_time
async def test_what_was_folded_on_a_lost_branch_is_not_flushed_to_the_other() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        await a.write("n", "two")
        fail_over(cluster.database, "n", keep=1)
        # Due before anything was noticed: the pull comes later.
        a.beat_link.hold()
        await advance(4)
        snapshot = cluster.snapshot("n")
        assert snapshot is not None
        assert snapshot.seq == 1
        a.beat_link.release()
        await advance(4)
        assert cluster.database.read_models["conversation_summaries"]["n"][1] == 1


@virtual_time
async def test_dirty_and_live_ones_are_taken_up_again_by_the_same_server() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        cluster.database.timeline += 1
        await advance(2)
        assert a.notebooks.holdings.ids() == ["n"]
        assert b.notebooks.holdings.ids() == []
        await advance(4)
        assert cluster.snapshot("n") is not None
        assert a.notebooks.lost.count == 0


@virtual_time
async def test_comparison_waits_for_the_database() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.write("n", "two")
        a.log_link.up = False
        fail_over(cluster.database, "n", keep=1)
        await advance(10)
        assert a.notebooks.lost.count == 0
        a.log_link.up = True
        await advance(2)
        assert a.notebooks.lost.count == 1
