"""Each rung is entered and left by itself, and what a server does there follows from it."""

import asyncio
from itertools import product

import pytest
import structlog
from structlog.testing import capture_logs

from src.state.errors import DurableTierUnavailable, OutcomeUnknown, Overloaded, ReadOnly
from src.state.ladder.ladder import Rung, rung_of
from src.state.models import Where
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server

LONG = 86_400.0
"""The clocks of two servers differ, and a space in memory expires by the writer's."""


def test_every_combination_has_its_rung() -> None:
    rungs = {given: rung_of(*given) for given in product((True, False), repeat=3)}
    assert [given for given, rung in rungs.items() if rung is Rung.ALL] == [(True, True, True)]
    assert [given for given, rung in rungs.items() if rung is Rung.DEAF] == [(True, True, False)]
    assert rungs[False, True, True] is rungs[False, True, False] is Rung.WITHOUT_L2
    assert rungs[True, False, True] is rungs[True, False, False] is Rung.WITHOUT_L3
    assert rungs[False, False, True] is rungs[False, False, False] is Rung.WITHOUT_BOTH


async def rungs(server: Server, seconds: float) -> list[Rung]:
    """Look ten times a second; return what changed."""
    seen: list[Rung] = []
    for _ in range(round(10 * seconds)):
        await advance(0.1)
        if not seen or seen[-1] is not server.ladder.rung:
            seen.append(server.ladder.rung)
    return seen


@virtual_time
async def test_redis_away_and_back() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        cluster.space.available = False
        assert await rungs(a, 3) == [Rung.ALL, Rung.WITHOUT_L2]
        await b.lines("n")
        await a.write("n", "two")
        read = await b.read("n")
        assert (read.where, read.entry.state.lines, read.stale_s) == (
            Where.L3,
            ("one", "two"),
            None,
        )
        cluster.space.available = True
        assert await rungs(a, 4) == [Rung.WITHOUT_L2, Rung.ALL]
        assert a.ladder.entered[Rung.WITHOUT_L2] == 1


@virtual_time
async def test_postgres_away_and_back() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.available = False
        assert await rungs(a, 3) == [Rung.ALL, Rung.WITHOUT_L3]
        with pytest.raises(ReadOnly):
            await a.write("n", "two")
        cluster.database.available = True
        assert await rungs(a, 4) == [Rung.WITHOUT_L3, Rung.ALL]
        await a.write("n", "two")
        assert cluster.texts("n") == ["one", "two"]


@virtual_time
async def test_both_away_and_back() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.available = cluster.space.available = False
        await advance(6)
        assert a.ladder.rung is Rung.WITHOUT_BOTH
        read = await a.read("n")
        assert read.entry.state.lines == ("one",)
        assert read.stale_s is not None
        cluster.database.available = cluster.space.available = True
        assert (await rungs(a, 4))[-1] is Rung.ALL
        assert (await a.read("n")).stale_s is None


@virtual_time
async def test_subscription_cut_again_and_again_is_deaf_and_hears_by_pulls() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await b.lines("n")

        async def cut() -> None:
            while True:
                cluster.space.cut_subscriptions()
                await asyncio.sleep(0.1)

        cutting = asyncio.ensure_future(cut())
        assert await rungs(b, 4) == [Rung.ALL, Rung.DEAF]
        await a.write("n", "two")
        await advance(1)
        read = await b.read("n")
        assert (read.entry.state.lines, read.stale_s) == (("one", "two"), None)
        cutting.cancel()
        assert await rungs(b, 4) == [Rung.DEAF, Rung.ALL]


@virtual_time
async def test_subscription_that_broke_once_changes_no_rung() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await advance(2)
        cluster.space.cut_subscriptions()
        assert await rungs(a, 4) == [Rung.ALL]


@virtual_time
async def test_stores_that_come_and_go_make_no_server_flap() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.available = False
        await advance(3)
        for turn in range(60):
            cluster.database.available = turn % 2 == 0
            await advance(0.7)
        assert a.ladder.entered[Rung.WITHOUT_L3] == 1
        assert a.ladder.entered[Rung.ALL] == 0


@virtual_time
async def test_rung_is_logged_when_it_is_entered() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        with structlog.testing.capture_logs() as logs:
            cluster.database.available = False
            await advance(3)
            cluster.database.available = True
            await advance(4)
        lines = [line for line in logs if line["event"] == "rung.entered"]
        assert [(line["rung"], line["left"], line["log_level"]) for line in lines] == [
            ("without_l3", "all", "warning"),
            ("all", "without_l3", "info"),
        ]
        assert 0 < lines[0]["after_s"] < 3 < lines[1]["after_s"] < 7
        assert a.ladder.standing.rung is Rung.ALL


# -- L3 away -------------------------------------------------------------------------------------


@virtual_time
async def test_postgres_that_hangs_holds_nobody_up_once_it_is_known() -> None:
    """Without an answer a probe fails only after its time-out; here the links hold for ever, so
    whoever set out would never come back."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await b.lines("n")
        for link in (b.read_link, b.owner_link, b.log_link):
            link.hold()
        b.beat_link.up = False
        reads = [asyncio.ensure_future(b.read("n")) for _ in range(50)]
        await advance(0)
        trips = b.read_link.trips
        await advance(5)
        assert b.ladder.rung is Rung.WITHOUT_L3
        reads += [asyncio.ensure_future(b.read("n")) for _ in range(50)]
        await settle()
        assert all(read.done() for read in reads)
        assert b.read_link.trips <= trips + 1
        with pytest.raises(ReadOnly):
            await b.write("m", "new")
        b.thaw()
        b.beat_link.up = True
        await advance(5)
        assert (await b.read("n")).stale_s is None


@virtual_time
async def test_what_was_not_sent_is_refused_at_once_and_what_was_sent_is_unknown() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.log_link.hold()
        sent = asyncio.ensure_future(a.write("n", "sent"))
        await settle()
        waiting = [asyncio.ensure_future(a.write(id, "waits")) for id in ("n", "n")]
        await settle()
        cluster.database.available = False
        await advance(3)
        for one in waiting:
            assert isinstance(one.exception(), ReadOnly)
        await advance(3)
        assert isinstance(sent.exception(), OutcomeUnknown)
        cluster.database.available = True
        a.thaw()
        await advance(5)
        assert cluster.texts("n") == ["one", "sent"]


@virtual_time
async def test_unknown_entry_is_an_error_while_nobody_can_tell() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        cluster.database.available = False
        await advance(3)
        with pytest.raises(DurableTierUnavailable):
            await a.read("never seen")


@virtual_time
async def test_owner_reads_what_l1_has_evicted_and_l2_never_had() -> None:
    cluster = Cluster(l1_entries=1)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        cluster.database.available = False
        await advance(1)
        cluster.space.clear()
        await advance(5)
        for id in ("m", "o"):
            with pytest.raises(DurableTierUnavailable):
                await a.read(id)
        a.store._l1.drop("n")
        read = await a.read("n")
        assert (read.where, read.entry.state.lines) == (Where.OWNER, ("one",))
        assert read.stale_s is not None


@virtual_time
async def test_copy_in_l2_that_is_newer_than_ours_is_read() -> None:
    cluster = Cluster(l2_ttl=LONG)
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await b.lines("n")
        await advance(3)
        b.read_link.hold()
        await a.write("n", "two")
        await advance(4)
        b.thaw()
        cluster.database.available = False
        await advance(5)
        read = await b.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L2, ("one", "two"))
        assert read.stale_s is not None


@virtual_time
async def test_copy_taken_from_l2_is_no_answer_once_l3_is_back() -> None:
    """It was older than the log, which nobody could see then."""
    cluster = Cluster(l2_ttl=LONG)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(6)
        cluster.database.servers[a.id].dead = True
    async with cluster.open("b") as [b]:
        b.shared_link.up = False
        cluster.database.available = False
        await advance(3)
        b.shared_link.up = True
        assert await b.lines("n") == ("one",)
        cluster.database.available = True
        lonely = cluster.server("c", offset_s=77.0)
        async with lonely.running():
            lonely.bus_link.up = False
            await lonely.write("n", "two")
        await advance(5)
        read = await b.read("n")
        assert (read.entry.state.lines, read.stale_s) == (("one", "two"), None)


@virtual_time
async def test_cached_entries_outlive_their_time_in_l2() -> None:
    """An hour without L3, and nobody reads what only L2 has until its end."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(6)
    async with cluster.open("b") as [b]:
        cluster.database.available = False
        await advance(3600)
        read = await b.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L2, ("one",))
        cluster.database.available = True
        await advance(1800)
        assert cluster.space.cell("notebook", "n", b.clock.monotonic()) is None


@virtual_time
async def test_bodies_in_l2_are_kept_longer_every_quarter_of_their_time_and_that_is_said() -> None:
    cluster = Cluster(l2_ttl=400)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(6)
        with capture_logs() as logs:
            cluster.database.available = False
            await advance(350)
    said = [line["bodies"] for line in logs if line["event"] == "l2.rearmed"]
    assert said == [1, 1, 1, 1]


@virtual_time
async def test_standing_says_for_how_long() -> None:
    async with Cluster().open("a") as [a]:
        assert a.ladder.standing.for_s == 0.0
        await advance(7)
        standing = a.ladder.standing
        assert standing.rung is Rung.ALL
        assert standing.for_s == pytest.approx(7)


@virtual_time
async def test_what_l1_alone_has_is_shared_while_l3_is_away() -> None:
    cluster = Cluster(l2_ttl=LONG)
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await advance(6)
        cluster.space.clear()
        await advance(1)
        cluster.database.available = False
        await advance(3)
        read = await b.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L2, ("one",))


@virtual_time
async def test_nothing_changes_hands_while_l3_is_away() -> None:
    cluster = Cluster(idle_release=10.0)
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        cluster.database.available = False
        await advance(120)
        assert (a.notebooks.holdings.ids(), b.notebooks.holdings.ids()) == (["n"], [])
        cluster.database.available = True
        await advance(1.4)
        assert a.notebooks.holdings.ids() == ["n"]


# -- L2 away -------------------------------------------------------------------------------------


@virtual_time
async def test_cold_reads_are_one_load_each_and_few_at_once() -> None:
    cluster = Cluster(max_loads=3, max_waiting_loads=50)
    async with cluster.open("a", "b") as [a, b]:
        ids = [f"n{number}" for number in range(20)]
        for id in ids:
            await a.write(id, "one")
        cluster.space.available = False
        await advance(4)
        before = b.read_link.trips
        b.read_link.hold()
        reads = [asyncio.ensure_future(b.lines(id)) for id in ids for _ in range(10)]
        await settle()
        assert (b.read_link.trips - before, b.loads.waiting) == (3, 17)
        b.thaw()
        assert set(await asyncio.gather(*reads)) == {("one",)}
        assert b.read_link.trips - before == 20


@virtual_time
async def test_read_that_finds_the_line_full_gets_its_copy_labelled_or_is_sent_away() -> None:
    cluster = Cluster(max_loads=1, max_waiting_loads=1)
    async with cluster.open("a", "b") as [a, b]:
        for id in ("l", "m", "n", "o"):
            await a.write(id, "one")
        await b.lines("n")
        cluster.space.available = False
        await advance(4)
        b.read_link.hold()
        going = [asyncio.ensure_future(b.lines(id)) for id in ("l", "m")]
        await settle()
        read = await b.read("n")
        assert (read.where, read.entry.state.lines) == (Where.L1, ("one",))
        assert read.stale_s is not None
        with pytest.raises(Overloaded):
            await b.read("o")
        b.thaw()
        assert await asyncio.gather(*going) == [("one",), ("one",)]
