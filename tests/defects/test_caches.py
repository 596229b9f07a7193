"""Caches: old values that come back, and values that are not the cache's own."""

import asyncio

import msgspec
from msgspec import Raw

from src.swarm.shapes.commands import PatchConfig
from src.swarm.shapes.models import ConversationState
from src.swarm.shapes.work import DecideToolCall, RequestToolCall
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.rooms import SCOUT, Swarm


@virtual_time
async def test_10_no_old_copy_in_l2_is_read_or_built_upon_after_a_write() -> None:
    cluster = Cluster(l1_entries=1, flush_debounce=100, flush_max_wait=300)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        await a.write("n", "two")
        # Evicted from L1; L2 still has the state of the flush.
        await a.write("other", "x")
        server = cluster.server("b", offset_s=10.0)
        async with server.running():
            assert await server.lines("n") == ("one", "two")
            await a.notebooks.drain()
            await server.write("n", "three")
        assert cluster.texts("n") == ["one", "two", "three"]


@virtual_time
async def test_11_no_reader_can_change_what_the_cache_holds() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        held = (await a.service.read("c")).entry.state
        changed = _attempts(held)
        assert changed == []
        assert isinstance(held.participants, tuple)


def _attempts(state: ConversationState) -> list[str]:
    """Try to set every field of the state and of what is in it; return those that let it."""
    yielded = []
    for value in (state, state.config, state.stats, *state.participants):
        for name in value.__struct_fields__:
            try:
                setattr(value, name, None)
            except AttributeError:
                continue
            yielded.append(f"{type(value).__name__}.{name}")
    return yielded


@virtual_time
async def test_12_a_thousand_readers_that_miss_are_one_read_of_the_database() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        server = cluster.server("b", offset_s=10.0)
        async with server.running():
            server.shared_link.up = False
            before = server.source.loads
            reads = await asyncio.gather(*(server.read("n") for _ in range(1000)))
            assert {read.entry.state.lines for read in reads} == {("one",)}
            assert server.source.loads - before == 1


@virtual_time
async def test_12_a_slow_read_does_not_overwrite_what_is_newer() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        b.shared_link.up = False
        b.read_link.hold_answers()
        slow = asyncio.create_task(b.read("n"))
        await settle()
        await a.write("n", "two")
        await settle()
        b.read_link.release()
        await slow
        assert await b.lines("n") == ("one", "two")


@virtual_time
async def test_13_a_refill_that_began_before_the_commit_is_no_answer_after_it() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        b.shared_link.hold_answers()
        refill = asyncio.create_task(b.read("n"))
        await settle()
        await a.write("n", "two")
        await settle()
        b.shared_link.release()
        await refill
        await advance(1)
        for reader in (a, b):
            assert await reader.lines("n") == ("one", "two")
        late = cluster.server("late", offset_s=20.0)
        async with late.running():
            assert await late.lines("n") == ("one", "two")


@virtual_time
async def test_14_an_approval_given_through_one_server_is_seen_through_all() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        rules = {"scheduling": {"requires_approval": "all"}}
        await a.submit(PatchConfig(Raw(msgspec.json.encode(rules))), key="rules")
        await a.submit(RequestToolCall("buy", "scout", id="call"), key="request")
        [waiting] = (await b.service.read("c")).entry.state.pending_tool_calls
        assert waiting.status == "pending_approval"
        receipt = await b.submit(DecideToolCall("call", "approve"), key="approve")
        for server in (a, b):
            read = await server.service.read("c", at_least=receipt.version)
            assert [call.status for call in read.entry.state.pending_tool_calls] == ["approved"]
