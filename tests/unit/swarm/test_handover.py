"""Conversations change hands between living servers, and nobody is refused meanwhile."""

import asyncio

import pytest

from src.state.errors import NotFound, OwnershipUnknown, Refused, StateError
from src.state.models import Durability
from src.state.ownership.rendezvous import first
from src.swarm.shapes.commands import Create, PostMessage, Speaker
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import ADA, SCOUT, Swarm, SwarmServer, Voice

IDS = [f"c-{n}" for n in range(150)]


async def begin_all(server: SwarmServer) -> None:
    for id in IDS:
        new = Create(id, participants=(ADA,))
        await server.service.submit(id, new, key="create", actor="ada", create=True)


async def say(server: SwarmServer, id: str, text: str) -> int:
    turn = PostMessage(Speaker("person", "ada"), text)
    return (await server.service.submit(id, turn, key=text, actor="ada")).version.seq


def owners(swarm: Swarm) -> set[str | None]:
    return {head.owner_id for head in swarm.cluster.database.heads["conversations"].values()}


# -- going away ----------------------------------------------------------------------------------


@virtual_time
async def test_server_that_leaves_owns_nothing_and_everything_is_flushed() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, _]:
        await begin_all(a)
        await advance(1)
        await a.service.handover.leave()
        assert owners(swarm) == {None}
        assert all(swarm.cluster.snapshot(id) is not None for id in IDS)


@virtual_time
async def test_writes_through_either_server_go_on_while_one_leaves() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begin_all(a)
        await advance(1)
        over = asyncio.Event()

        async def write(id: str, server: SwarmServer) -> int:
            count = 0
            while not over.is_set():
                count += 1
                assert await say(server, id, f"{server.url} {count}") > 1
                await asyncio.sleep(0.01)
            return count

        writers = [asyncio.ensure_future(write(id, server)) for id in IDS[:20] for server in (a, b)]
        await advance(0.5)
        await a.service.handover.leave()
        await advance(0.5)
        assert owners(swarm) == {None, b.state.id}
        assert len(a.state.notebooks.holdings) == 0
        over.set()
        counts = await asyncio.gather(*writers)
        for place, id in enumerate(IDS[:20]):
            events = swarm.cluster.database.events["events"][id]
            assert len(events) == 1 + counts[2 * place] + counts[2 * place + 1]


@virtual_time
async def test_what_cannot_be_given_up_yet_is_tried_again_and_not_all_the_time() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, _]:
        await begin_all(a)
        a.state.beat_link.hold()
        await advance(4)
        turn = PostMessage(Speaker("person", "ada"), "cheap")
        await a.service.submit(
            IDS[0], turn, key="cheap", actor="ada", durability=Durability.BUFFERED
        )
        # Too late to act as the owner, so what is buffered cannot be logged.
        await advance(1)
        leaving = asyncio.ensure_future(a.service.handover.leave())
        await advance(0.2)
        assert not leaving.done()
        a.state.beat_link.release()
        await leaving
        assert owners(swarm) == {None}


@virtual_time
async def test_command_that_reaches_a_leaving_server_goes_to_the_one_that_comes_first() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b", "c") as [a, b, c]:
        await advance(1)
        await a.service.handover.leave()
        await begin_all(a)
        others = {b.state.id, c.state.id}
        heads = swarm.cluster.database.heads["conversations"]
        assert {id: heads[id].owner_id for id in IDS} == {id: first(id, others) for id in IDS}


@virtual_time
async def test_running_conversation_goes_to_a_server_by_name_which_goes_on_with_it() -> None:
    swarm = Swarm()
    voice = Voice(says=lambda request: "yes")
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        swarm.edit("scout", "test/voice")
        await a.begin(SCOUT)
        await advance(1)
        voice.hold()
        await a.say("hello")
        await settle()
        leaving = asyncio.ensure_future(a.service.handover.leave())
        await advance(1)
        await leaving
        assert owners(swarm) == {b.state.id}
        assert b.state.notebooks.holdings.ids() == ["c"]
        voice.release()
        await advance(1)
        assert swarm.said() == [("ada", "hello"), ("scout", "yes")]


@virtual_time
async def test_heir_that_is_not_reached_finds_out_at_the_next_use() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        await advance(1)
        b.reachable = False
        await a.service.handover.leave()
        b.reachable = True
        assert owners(swarm) == {b.state.id}
        await b.say("hello")
        assert ("ada", "hello") in swarm.said()


@virtual_time
async def test_heir_that_is_not_reached_goes_on_at_last_when_the_giver_is_gone() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        await advance(1)
        b.reachable = False
        await a.service.handover.leave()
        assert b.state.notebooks.holdings.ids() == []
        await a.state.membership.leave()
        await advance(3)
        assert b.state.notebooks.holdings.ids() == ["c"]


@virtual_time
async def test_heir_that_cannot_load_what_it_was_given_tries_again_by_itself() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        await advance(1)
        b.state.owner_link.lost_answers = 1
        await a.service.handover.leave()
        assert b.state.notebooks.holdings.ids() == []
        await advance(3)
        assert b.state.notebooks.holdings.ids() == ["c"]


@virtual_time
async def test_heir_that_has_just_died_takes_no_live_conversation_with_it() -> None:
    """The server that leaves has not heard of the death: the row says it first."""
    swarm = Swarm()
    async with swarm.open("a", "b", "c") as servers:
        a = servers[0]
        await a.begin(SCOUT)
        await advance(1)
        heir_id = first("c", a.state.membership.others())
        assert heir_id is not None
        [heir] = [server for server in servers if server.state.id == heir_id]
        [survivor] = [server for server in servers[1:] if server is not heir]
        heir.freeze()
        swarm.cluster.database.servers[heir_id].dead = True
        await a.service.handover.leave()
        assert owners(swarm) == {a.state.id}
        await a.state.membership.leave()
        await advance(5)
        assert survivor.state.notebooks.holdings.ids() == ["c"]
        heir.thaw()
        await advance(3)


@virtual_time
async def test_what_was_given_to_a_server_that_dies_then_goes_to_a_survivor() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b", "c") as servers:
        a = servers[0]
        await a.begin(SCOUT)
        await advance(1)
        heir_id = first("c", a.state.membership.others())
        assert heir_id is not None
        [heir] = [server for server in servers if server.state.id == heir_id]
        [survivor] = [server for server in servers[1:] if server is not heir]
        heir.freeze()
        await a.service.handover.leave()
        assert owners(swarm) == {heir_id}
        await a.state.membership.leave()
        await advance(10)
        assert survivor.state.notebooks.holdings.ids() == ["c"]
        heir.thaw()
        await advance(3)


@virtual_time
async def test_server_that_is_alone_keeps_everything_and_serves_on() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await a.service.handover.leave()
        await a.say("hello")
        assert owners(swarm) == {a.state.id}


# -- at the request of a room's host -------------------------------------------------------------


@virtual_time
async def test_host_of_a_room_becomes_the_owner_under_fire() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begin_all(a)
        await advance(1)
        writers = [
            asyncio.ensure_future(say(server, "c-0", f"{server.url} {n}"))
            for n in range(50)
            for server in (a, b)
        ]
        await asyncio.sleep(0)
        await b.service.handover.fetch("c-0")
        assert b.state.notebooks.holdings.ids() == ["c-0"]
        assert sorted(await asyncio.gather(*writers)) == list(range(2, 102))
        assert a.service.handover.given == 1


@virtual_time
async def test_free_conversation_is_simply_taken() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begin_all(a)
        await a.state.notebooks.drain()
        await b.service.handover.fetch("c-0")
        assert b.state.notebooks.holdings.ids() == ["c-0"]
        assert a.service.handover.given == 0


@virtual_time
async def test_owner_whose_bots_are_answering_keeps_it() -> None:
    swarm = Swarm()
    voice = Voice(says=lambda request: "yes")
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        swarm.edit("scout", "test/voice")
        await a.begin(SCOUT)
        await advance(1)
        voice.hold()
        await a.say("hello")
        await settle()
        with pytest.raises(Refused) as caught:
            await b.service.handover.fetch("c")
        assert caught.value.code == "room_at_work"
        assert owners(swarm) == {a.state.id}
        voice.release()
        await advance(1)
        await b.service.handover.fetch("c")
        assert owners(swarm) == {b.state.id}
        assert swarm.said() == [("ada", "hello"), ("scout", "yes")]


@virtual_time
async def test_owner_that_cannot_be_asked_stays_the_owner() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begin_all(a)
        await advance(1)
        a.reachable = False
        with pytest.raises(OwnershipUnknown):
            await b.service.handover.fetch("c-0")
        assert owners(swarm) == {a.state.id}


@virtual_time
async def test_what_is_asked_for_a_server_that_does_not_live_stays_with_its_owner() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, _]:
        await a.begin(SCOUT)
        with pytest.raises(OwnershipUnknown, match="no living server"):
            await a.service.handover.give("c", "srv-nobody")
        await advance(1)
        # Nobody has asked for it meanwhile: its bots and its approvals need an owner all the same.
        assert a.state.notebooks.holdings.ids() == ["c"]
        await a.say("hello")
        assert owners(swarm) == {a.state.id}


@virtual_time
async def test_what_was_given_without_an_answer_is_held_by_the_server_that_the_row_names() -> None:
    swarm = Swarm(patience_s=0)
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        await advance(1)
        a.state.owner_link.lost_answers = 1
        with pytest.raises(StateError):
            await b.service.handover.fetch("c")
        assert owners(swarm) == {b.state.id}
        await advance(1)
        assert b.state.notebooks.holdings.ids() == ["c"]


@virtual_time
async def test_what_does_not_exist_cannot_be_fetched() -> None:
    async with Swarm().open("a", "b") as [_, b]:
        with pytest.raises(NotFound):
            await b.service.handover.fetch("nowhere")
