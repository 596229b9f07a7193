"""What is owned comes before the first write and goes when it is time."""

import asyncio

import pytest

from src.state.errors import (
    DurableTierUnavailable,
    NotOwner,
    OwnershipLost,
    OwnershipUnknown,
)
from src.state.models import Announcement, Durability, Entry, Version
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import GOES_ON, NOTEBOOKS, Notebook, claim


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
async def test_idle_ones_are_given_up_again_once_the_outage_is_over() -> None:
    cluster = Cluster(idle_release=60)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(10)
        for link in (a.owner_link, a.beat_link, a.log_link, a.read_link):
            link.up = False
        await advance(100)
        assert not a.ladder.durable.closed
        assert a.notebooks.holdings.ids() == ["n"]
        for link in (a.owner_link, a.beat_link, a.log_link, a.read_link):
            link.up = True
        await advance(100)
        assert a.notebooks.holdings.ids() == []


@virtual_time
async def test_release_without_an_answer_ends_no_later_one() -> None:
    cluster = Cluster(idle_release=60)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.owner_link.lost_answers = 1
        await advance(100)
        await a.write("m", "one")
        await advance(100)
        assert a.notebooks.holdings.ids() == []
        assert cluster.database.heads["conversations"]["m"].owner_id is None


@virtual_time
async def test_what_is_not_flushed_is_not_given_up() -> None:
    cluster = Cluster(idle_release=1)
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await advance(1.9)
        a.freeze()
        await advance(10)
        assert cluster.snapshot("n") == (await b.read("n")).entry.version
        a.thaw()


@virtual_time
async def test_write_that_meets_the_release_is_taken_or_refused_and_never_lost() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
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


# -- given up on purpose -------------------------------------------------------------------------


@virtual_time
async def test_what_is_given_up_under_fire_is_logged_flushed_and_goes_on_elsewhere() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "first")
        early = [asyncio.ensure_future(a.write("n", f"early {i}")) for i in range(20)]
        await asyncio.sleep(0)
        giving = asyncio.ensure_future(a.notebooks.holdings.give_up(["n"], b.id))
        await asyncio.sleep(0)
        with pytest.raises(OwnershipLost):
            await a.write("n", "late")
        assert await giving == {"n"}
        seqs = [(await one).version.seq for one in early]
        assert seqs == list(range(2, 22))
        snapshot = cluster.snapshot("n")
        assert snapshot is not None
        assert snapshot.seq == 21
        assert cluster.database.heads["conversations"]["n"].owner_id == b.id
        assert (await b.write("n", "late")).version.seq == 22
    assert cluster.texts("n") == ["first", *(f"early {i}" for i in range(20)), "late"]


@virtual_time
async def test_buffered_changes_are_logged_before_they_are_given_up() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.write("n", "two", durability=Durability.BUFFERED)
        assert await a.notebooks.holdings.give_up(["n"], b.id) == {"n"}
        assert await b.lines("n") == ("one", "two")


@virtual_time
async def test_what_is_given_to_a_dead_server_is_free() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        assert await a.notebooks.holdings.give_up(["n"], "gone") == frozenset()
        assert cluster.database.heads["conversations"]["n"].owner_id is None
        assert (await b.write("n", "two")).version.seq == 2


@virtual_time
async def test_live_one_that_nobody_takes_stays_in_the_row_for_who_looks_after_the_dead() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", GOES_ON)
        assert await a.notebooks.holdings.give_up(["n"], "gone") == frozenset()
        assert cluster.database.heads["conversations"]["n"].owner_id == a.id
        await a.membership.leave()
        await advance(3)
        assert b.notebooks.holdings.ids() == ["n"]


@virtual_time
async def test_what_becomes_live_while_it_is_given_up_is_kept_until_somebody_takes_it() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        writing = asyncio.ensure_future(a.write("n", GOES_ON))
        await asyncio.sleep(0)
        await a.notebooks.holdings.give_up(["n"])
        assert (await writing).version.seq == 2
        assert a.notebooks.holdings.ids() == ["n"]
        assert await a.notebooks.holdings.give_up(["n"], b.id) == {"n"}


@virtual_time
async def test_live_one_of_a_drained_server_is_taken_when_that_server_is_gone() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("live", GOES_ON)
        await a.write("quiet", "one")
        await a.notebooks.drain()
        await a.membership.leave()
        await advance(3)
        assert b.notebooks.holdings.ids() == ["live"]


@virtual_time
async def test_nothing_is_handed_over_where_nobody_takes_it_or_nothing_goes() -> None:
    async with Cluster().open("a", "b") as [a, b]:
        await a.write("n", "one")
        trips = a.owner_link.trips
        assert await a.notebooks.holdings.give_up(["never held"], b.id) == frozenset()
        assert a.owner_link.trips == trips
        assert await a.notebooks.holdings.give_up(["n"]) == frozenset()
        assert a.owner_link.trips == trips + 1


@virtual_time
async def test_what_could_not_be_flushed_is_kept() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        a.log_link.up = False
        with pytest.raises(DurableTierUnavailable):
            await a.notebooks.holdings.give_up(["n"], b.id)
        a.log_link.up = True
        assert (await a.write("n", "two")).version.seq == 2


@virtual_time
async def test_server_that_is_going_away_takes_nothing_new_while_another_lives() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        a.membership.leaving = True
        await a.write("alone", "one")
        async with cluster.open("b"):
            await advance(1)
            with pytest.raises(OwnershipUnknown, match="going away"):
                await a.write("n", "one")
            assert (await a.write("alone", "two")).version.seq == 2


@virtual_time
async def test_server_past_its_deadline_owns_nothing_of_what_it_holds() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        assert a.notebooks.holdings.owns("n")
        assert not a.notebooks.holdings.owns("never held")
        a.freeze()
        await advance(10)
        assert a.notebooks.holdings.ids() == ["n"]
        assert not a.notebooks.holdings.owns("n")
        a.thaw()


@virtual_time
async def test_whoever_wants_to_know_is_told_what_is_held_no_more() -> None:
    async with Cluster().open("a") as [a]:
        told: list[str] = []
        a.notebooks.holdings.gone.append(told.append)
        await a.write("n", "one")
        await a.write("m", "one")
        await a.notebooks.holdings.give_up(["n"])
        assert told == ["n"]


@virtual_time
async def test_word_of_its_own_epoch_takes_nothing_from_an_owner() -> None:
    async with Cluster().open("a") as [a]:
        ack = await a.write("n", "one")
        a.heard(Announcement("notebook", "n", Version(ack.version.epoch, ack.version.seq + 1)))
        assert a.notebooks.holdings.owns("n")


# -- taken again ---------------------------------------------------------------------------------


@virtual_time
async def test_epoch_is_not_raised_past_the_deadline() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        lane = a.notebooks.holdings.find("n")
        assert lane is not None
        trips = a.owner_link.trips
        a.beat_link.hold()
        await advance(10)
        assert not await a.notebooks.holdings.retake(lane)
        assert a.owner_link.trips == trips
        a.beat_link.release()


@virtual_time
async def test_row_that_was_erased_is_not_made_again() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        lane = a.notebooks.holdings.find("n")
        assert lane is not None
        del cluster.database.heads["conversations"]["n"]
        assert not await a.notebooks.holdings.retake(lane)
        assert "n" not in cluster.database.heads["conversations"]


@virtual_time
async def test_epoch_of_a_lane_that_was_lost_meanwhile_is_not_raised() -> None:
    async with Cluster().open("a") as [a]:
        ack = await a.write("n", "one")
        lane = a.notebooks.holdings.find("n")
        assert lane is not None
        a.owner_link.hold()
        retaking = asyncio.ensure_future(a.notebooks.holdings.retake(lane))
        await settle()
        a.heard(Announcement("notebook", "n", Version(ack.version.epoch + 1, 2)))
        a.owner_link.release()
        assert not await retaking
        assert lane.epoch == ack.version.epoch
