"""The use-cases: a write finds its owner wherever it is, once, within a bounded time."""

import asyncio
from datetime import timedelta

import pytest

from src.state.errors import (
    NotFound,
    OutcomeUnknown,
    OwnershipUnknown,
    Refused,
    VersionConflict,
)
from src.state.models import Durability, Version
from src.swarm.shapes.commands import ChangeStatus, CountUsage, Delete, PostMessage, Speaker
from src.swarm.shapes.events import UsageCounted
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import SCOUT, Swarm, SwarmServer


def elapsed_since(began: float) -> timedelta:
    """Virtual time, to the millisecond."""
    return timedelta(seconds=round(asyncio.get_running_loop().time() - began, 3))


async def begun(server: SwarmServer) -> None:
    """Make the conversation, without anybody who answers."""
    await server.begin()


# -- the way to the owner ------------------------------------------------------------------------


@virtual_time
async def test_write_through_another_server_goes_once_to_the_owner_and_brings_its_receipt() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        receipt = await b.say("hello")
        assert (b.wire.forwarded, a.asked, a.wire.forwarded) == (1, 1, 0)
        assert (receipt.durability, receipt.repeated) == (Durability.LOGGED, False)
        assert receipt.version == swarm.log()[-1].version
        assert b.state.notebooks.holdings.ids() == []
    assert swarm.said() == [("ada", "hello")]


@virtual_time
async def test_owner_that_was_found_is_not_looked_up_again() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        await b.say("one")
        before = b.state.owner_link.trips
        for text in ("two", "three"):
            await b.say(text)
        assert b.state.owner_link.trips == before
        assert (b.wire.forwarded, a.asked) == (3, 3)


@virtual_time
async def test_key_that_comes_again_by_another_way_gets_the_first_receipt() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        first = await a.say("hello", key="k")
        again = await b.say("hello", key="k")
    assert (again.version, again.repeated) == (first.version, True)
    assert swarm.said() == [("ada", "hello")]


@virtual_time
async def test_owner_that_changed_is_found_again() -> None:
    """The one that was known says that it is not the owner and names the one that is."""
    swarm = Swarm()
    async with swarm.open("a", "b", "c") as [a, b, c]:
        await begun(a)
        await b.say("one")
        await c.service.handover.fetch("c")
        await c.say("two")
        assert c.state.notebooks.holdings.ids() == ["c"]
        await b.say("three")
        assert (a.asked, c.asked) == (2, 1)
    assert [text for _, text in swarm.said()] == ["one", "two", "three"]


@virtual_time
async def test_owner_that_gave_up_is_asked_and_owns_again() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        await b.say("one")
        await a.state.notebooks.drain()
        await b.say("two")
        assert a.state.notebooks.holdings.ids() == ["c"]
    assert [text for _, text in swarm.said()] == ["one", "two"]


@virtual_time
async def test_many_writers_through_both_servers_make_one_history() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        texts = [f"{number}" for number in range(100)]
        receipts = await asyncio.gather(*((a if int(text) % 2 else b).say(text) for text in texts))
        assert (a.wire.forwarded, b.wire.forwarded) == (0, 50)
    assert len({receipt.version for receipt in receipts}) == 100
    assert sorted(text for _, text in swarm.said()) == sorted(texts)
    assert [event.version.seq for event in swarm.log()] == list(range(1, len(swarm.log()) + 1))


# -- what the owner says no to -------------------------------------------------------------------


@virtual_time
async def test_refusal_of_the_owner_is_the_same_through_another_server() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        now = (await a.service.read("c")).entry.version
        for server in (a, b):
            with pytest.raises(Refused, match="resume needs") as refusal:
                await server.submit(ChangeStatus("resume"), key="no")
            assert (refusal.value.code, refusal.value.field) == ("wrong_status", "action")
            with pytest.raises(VersionConflict) as conflict:
                await server.submit(
                    ChangeStatus("pause"), key="old", if_version=Version(now.epoch, 1)
                )
            assert (conflict.value.expected, conflict.value.found) == (f"{now.epoch}.1", now.token)
        assert b.wire.forwarded == 2


@virtual_time
async def test_what_nobody_created_is_not_found_and_owned_by_nobody() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        for server in (a, b):
            with pytest.raises(NotFound):
                await server.say("hello")
            with pytest.raises(NotFound):
                await server.service.read("c")
            with pytest.raises(NotFound):
                await server.service.events("c", after=0, limit=10)
        assert (a.wire.forwarded, b.wire.forwarded) == (0, 0)


@virtual_time
async def test_deleted_conversation_is_not_found_on_any_server() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        assert (await b.service.read("c")).entry.state.status == "running"
        await b.submit(Delete(), key="delete")
        await advance(0.01)
        for server in (a, b):
            with pytest.raises(NotFound):
                await server.service.read("c")
            with pytest.raises(NotFound):
                await server.say("hello")


# -- patience ------------------------------------------------------------------------------------


@virtual_time
async def test_owner_that_cannot_be_reached_but_lives_is_waited_for_and_never_replaced() -> None:
    swarm = Swarm(patience_s=3)
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        a.reachable = False
        began = asyncio.get_running_loop().time()
        with pytest.raises(OwnershipUnknown):
            await b.say("hello")
        assert timedelta(seconds=2.8) < elapsed_since(began) <= timedelta(seconds=3)
        assert b.state.notebooks.holdings.ids() == []
        writing = asyncio.ensure_future(b.say("hello"))
        await advance(1)
        a.reachable = True
        assert (await writing).version == swarm.log()[-1].version
    assert swarm.said() == [("ada", "hello")]


@virtual_time
async def test_write_to_a_dead_server_is_taken_once_its_death_is_known() -> None:
    swarm = Swarm(patience_s=12)
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        await b.say("one")
        a.freeze()
        began = asyncio.get_running_loop().time()
        receipt = await b.say("two")
        assert timedelta(seconds=4) < elapsed_since(began) < timedelta(seconds=9)
        assert receipt.version.epoch > swarm.log()[0].version.epoch
        a.thaw()
    assert [text for _, text in swarm.said()] == ["one", "two"]


@virtual_time
async def test_answer_that_was_lost_on_the_way_is_asked_for_again_under_the_same_key() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        b.wire.lost_answers = 2
        receipt = await b.say("hello")
        assert (receipt.repeated, receipt.version) == (True, swarm.log()[-1].version)
        b.wire.lost_answers = 1000
        with pytest.raises(OutcomeUnknown):
            await b.say("again")
    assert [text for _, text in swarm.said()] == ["hello", "again"]


@virtual_time
async def test_refusal_is_final_and_is_not_tried_again() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        began = asyncio.get_running_loop().time()
        with pytest.raises(Refused):
            await b.submit(ChangeStatus("resume"), key="no")
        assert elapsed_since(began) == timedelta(0)
        assert a.asked == 1


# -- how safe a write is -------------------------------------------------------------------------


@virtual_time
async def test_command_says_how_safe_it_is_unless_told_otherwise() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        for server in (a, b):
            usage = CountUsage(credits=1)
            cheap = await server.submit(usage, key=f"cheap {server.url}")
            assert cheap.durability == Durability.BUFFERED
            dear = await server.submit(
                usage, key=f"dear {server.url}", durability=Durability.LOGGED
            )
            assert dear.durability == Durability.LOGGED
    assert sum(isinstance(fact, UsageCounted) for fact in swarm.facts()) == 4


@virtual_time
async def test_buffered_can_be_made_the_default_and_is_logged_later() -> None:
    swarm = Swarm(ack="buffered")
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        await a.state.notebooks.drain()
        await a.submit(ChangeStatus("start"), key="owns again")
        receipt = await b.say("hello")
        assert receipt.durability == Durability.BUFFERED
        asked = await b.submit(
            PostMessage(Speaker("person", "ada"), "now"), key="now", durability=Durability.LOGGED
        )
        assert asked.durability == Durability.LOGGED
        assert [text for _, text in swarm.said()] == ["hello", "now"]
        await a.say("and later")
        await advance(6)
    assert [text for _, text in swarm.said()] == ["hello", "now", "and later"]


# -- reading -------------------------------------------------------------------------------------


@virtual_time
async def test_version_of_a_receipt_is_read_on_every_server_at_once() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        for number in range(10):
            receipt = await (a if number % 2 else b).say(f"{number}")
            for server in (a, b):
                read = await server.service.read("c", at_least=receipt.version)
                assert read.entry.state.messages[-1].text == f"{number}"


@virtual_time
async def test_events_come_in_order_from_where_one_asks() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        for text in ("one", "two", "three"):
            await a.say(text)
        for server in (a, b):
            events = await server.service.events("c", after=2, limit=2)
            assert [event.version.seq for event in events] == [3, 4]
            assert await server.service.events("c", after=10_000, limit=2) == []


@virtual_time
async def test_peek_is_a_hit_after_a_read_and_none_after_a_change() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await begun(a)
        assert b.service.peek("c") is None
        read = await b.service.read("c")
        hit = b.service.peek("c")
        assert hit is not None
        assert b.service.body(hit) is b.service.body(read.entry)
        await a.say("hello")
        await settle()
        assert b.service.peek("c") is None
