"""What a dead server left is taken once, by the survivor whose turn it is."""

import asyncio

from src.state.ownership.rendezvous import rank
from src.state.ownership.takeover import STEP_S
from src.state.tiers.memory_database import Head
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server
from tests.support.kinds import GOES_ON, claim

IDS = [f"n{i}" for i in range(60)]


def owners(cluster: Cluster) -> dict[str, str | None]:
    return {id: head.owner_id for id, head in cluster.database.heads["conversations"].items()}


def leave_behind(cluster: Cluster, owner: str, *ids: str) -> None:
    """Have a server that is gone own conversations that nobody flushed."""
    for id in ids:
        cluster.database.heads["conversations"][id] = Head(owner, 1, 1)
        cluster.database.events["events"][id] += claim(id, 1, 0, "one").events


async def dies(server: Server, within_s: float = 8.0) -> None:
    """Freeze a server until the others have declared it dead and the first turn has passed."""
    server.freeze()
    await advance(within_s)


@virtual_time
async def test_new_owner_flushes_what_the_old_one_left() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await asyncio.gather(*(a.write(f"n{i}", "one") for i in range(20)))
        a.freeze()
        await advance(10)
        assert b.notebooks.takeover.taken == 20
        assert [cluster.snapshot(f"n{i}") is not None for i in range(20)] == [True] * 20
        assert cluster.database.heads["conversations"]["n0"].owner_id == b.id
        a.thaw()
        await advance(3)
        assert len(a.notebooks.holdings) == 0


@virtual_time
async def test_each_orphan_is_taken_once_by_the_survivor_that_comes_first_for_it() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b", "c") as [a, b, c]:
        epochs = {id: (await a.write(id, "one")).version.epoch for id in IDS}
        await dies(a)
        first = {id: min((b.id, c.id), key=lambda one: rank(id, one, (b.id, c.id))) for id in IDS}
        assert owners(cluster) == first
        assert b.notebooks.takeover.taken + c.notebooks.takeover.taken == len(IDS)
        assert min(b.notebooks.takeover.taken, c.notebooks.takeover.taken) >= len(IDS) // 4
        heads = cluster.database.heads["conversations"]
        assert {id: heads[id].epoch for id in IDS} == {id: one + 1 for id, one in epochs.items()}
        await advance(5)
        assert all(cluster.snapshot(id) is not None for id in IDS)
        a.thaw()
        await advance(3)


@virtual_time
async def test_share_of_a_survivor_that_is_dead_itself_goes_to_the_next() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b", "c") as [a, b, c]:
        await asyncio.gather(*(a.write(id, GOES_ON) for id in IDS))
        await advance(3)
        a.freeze()
        await advance(5)
        b.freeze()
        # b still counts as alive when a is declared dead: its beat stood still for too short.
        await advance(1.5)
        mine = {id for id in IDS if rank(id, c.id, (b.id, c.id)) == 0}
        assert {id for id, owner in owners(cluster).items() if owner == c.id} == mine
        assert 0 < len(mine) < len(IDS)
        await advance(STEP_S + 1.5)
        assert set(owners(cluster).values()) == {c.id}
        for server in (a, b):
            server.thaw()
        await advance(3)


@virtual_time
async def test_live_conversation_is_taken_although_it_is_flushed() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("live", GOES_ON)
        await a.write("quiet", "one")
        await a.notebooks.writebehind.flush_all()
        await dies(a)
        assert b.notebooks.holdings.ids() == ["live"]
        a.thaw()
        await advance(3)


@virtual_time
async def test_last_statement_of_a_dead_server_is_found_later() -> None:
    """It was on its way when the orphans were counted: a row that was clean is so no more."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        await dies(a, 7.0)
        assert b.notebooks.holdings.ids() == []
        head = cluster.database.heads["conversations"]["n"]
        cluster.database.events["events"]["n"] += claim("n", head.epoch, 1, "late").events
        head.seq = 2
        await advance(3)
        assert b.notebooks.holdings.ids() == ["n"]
        assert await b.lines("n") == ("one", "late")
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
        assert b.notebooks.takeover.taken == 0
        b.owner_link.up = True
        await advance(5)
        assert b.notebooks.takeover.taken == 1
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
        assert b.notebooks.takeover.taken == 0
        assert (await b.write("n", "two")).version.seq == 2
        a.thaw()
        await advance(3)


@virtual_time
async def test_more_orphans_than_one_page_holds_are_all_seen_and_each_once() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, _]:
        await advance(1)
        leave_behind(cluster, "gone", *(f"n{i:04}" for i in range(1100)))
        trips = a.owner_link.trips
        a.notebooks.takeover.look_after("gone")
        await advance(0.5)
        mine = len(a.notebooks.holdings)
        assert 0 < mine < 1100
        assert a.owner_link.trips - trips == 3 + mine
        await advance(2 * STEP_S)
        assert len(a.notebooks.holdings) == 1100


@virtual_time
async def test_exactly_one_page_of_orphans_is_followed_by_another_look() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        leave_behind(cluster, "gone", *(f"n{i:04}" for i in range(500)))
        trips = a.owner_link.trips
        a.notebooks.takeover.look_after("gone")
        await advance(0.5)
        assert a.owner_link.trips - trips == 2 + 500


@virtual_time
async def test_dead_server_whose_orphans_cannot_be_listed_holds_up_no_other() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        leave_behind(cluster, "first", "n")
        leave_behind(cluster, "second", "m")
        a.owner_link.lost_answers = 1
        a.notebooks.takeover.look_after("first")
        a.notebooks.takeover.look_after("second")
        await settle()
        assert a.notebooks.holdings.ids() == ["m"]
        await advance(3)
        assert sorted(a.notebooks.holdings.ids()) == ["m", "n"]


@virtual_time
async def test_each_one_taken_is_counted_although_another_was_not_answered() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        leave_behind(cluster, "gone", "m", "n")
        a.owner_link.hold_answers()
        a.notebooks.takeover.look_after("gone")
        await settle()
        # The list arrives, then one acquisition of the two has no answer.
        end = a.owner_link.strand()
        a.owner_link.hold_answers()
        end()
        await settle()
        a.owner_link.lost_answers = 1
        a.owner_link.release()
        await advance(5)
        assert (a.notebooks.takeover.taken, len(a.notebooks.holdings)) == (2, 2)


@virtual_time
async def test_what_is_held_already_is_not_taken() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        a.notebooks.takeover.look_after(a.id)
        await settle()
        assert a.notebooks.takeover.taken == 0


@virtual_time
async def test_orphan_that_was_erased_meanwhile_is_not_made_again() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        leave_behind(cluster, "gone", "n")
        a.owner_link.hold_answers()
        a.notebooks.takeover.look_after("gone")
        await settle()
        del cluster.database.heads["conversations"]["n"]
        a.owner_link.release()
        await settle()
        assert a.notebooks.takeover.taken == 0
        assert "n" not in cluster.database.heads["conversations"]
