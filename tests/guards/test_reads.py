"""The guards of the read: an answer without a label has what was acknowledged before."""

import asyncio
from collections.abc import Sequence

from src.state.guards import Guards
from src.state.models import Durability
from src.state.tiers.keys import partition_of
from tests.guards.faults import dump, lost_messages, standby
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance, jump, settle
from tests.support.cluster import Cluster
from tests.support.history import Broken, Violation


@without("head", Broken.STALE)
async def test_body_below_its_head_is_no_answer(guards: Guards) -> Sequence[Violation]:
    """A server that was not there when newer versions were announced, and are not flushed yet."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "flushed")
        await advance(2.5)
        for number in range(3):
            await witness.write(a, "n", f"not flushed {number}")
            await advance(1.5)
        cold = cluster.server("cold", guards=guards)
        async with cold.running():
            await witness.read(cold, "n")
    return witness.verdict()


@without("head", Broken.STALE)
async def test_body_of_another_life_of_redis_is_no_answer(guards: Guards) -> Sequence[Violation]:
    """An old dump has the head that was right for its body."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        await advance(2.5)
        restart = dump(cluster)
        await witness.write(a, "n", "two")
        await advance(2.5)
        restart()
        cold = cluster.server("cold", guards=guards)
        async with cold.running():
            await witness.read(cold, "n")
    return witness.verdict()


@without("inclusive", Broken.MISTOLD)
async def test_base_of_a_lost_branch_is_thrown_away(guards: Guards) -> Sequence[Violation]:
    """What L2 holds was folded from events that the promoted standby never got."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        promote = standby(cluster)
        a.bus_link.hold_answers()
        await witness.write(a, "n", "lost")
        promote()
        a.bus_link.release()
        await advance(1)
        await witness.write(a, "n", "two")
        await witness.write(a, "n", "three")
        cold = cluster.server("cold", guards=guards)
        async with cold.running():
            await witness.read(cold, "n")
    return witness.verdict()


@without("watermark", Broken.STALE)
async def test_what_was_heard_of_is_asked_for(guards: Guards) -> Sequence[Violation]:
    """A copy older than a version that was announced."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        await witness.write(a, "n", "two")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("token", Broken.STALE)
async def test_load_that_a_doubt_overtook_fills_nothing(guards: Guards) -> Sequence[Violation]:
    """It read the log before the write; the message got lost, and is kept no more."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        b.read_link.hold_answers()
        early = asyncio.ensure_future(witness.read(b, "n"))
        await settle()
        with lost_messages(cluster):
            await witness.write(a, "n", "two")
        cluster.space.counters[partition_of("n")].kept.clear()
        await advance(0.6)
        b.read_link.release()
        await early
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("newer", Broken.BACK)
async def test_slow_load_does_not_replace_a_newer_one(guards: Guards) -> Sequence[Violation]:
    """Two loads of one id at once, for readers who ask for two versions."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        b.read_link.hold_answers()
        early = asyncio.ensure_future(witness.read(b, "n"))
        await settle()
        with lost_messages(cluster):
            two = await witness.write(a, "n", "two")
            second = asyncio.ensure_future(witness.read(b, "n", at_least=two))
            await settle()
            # The load that both wait for is too early for the second, which makes one of its own.
            b.read_link.release()
            b.read_link.hold_answers()
            await early
            await settle()
            let_go = b.read_link.strand()
            await advance(0.1)
            three = await witness.write(a, "n", "three")
            await witness.read(b, "n", at_least=three)
            let_go()
            await second
        await witness.read(b, "n")
    return witness.verdict()


@without("clock", Broken.STALE)
async def test_process_that_stood_still_calls_nothing_fresh(guards: Guards) -> Sequence[Violation]:
    """The request that waited is served before any timer runs."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        with lost_messages(cluster):
            await witness.write(a, "n", "two")
        jump(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("pinning", Broken.EVICTED)
async def test_owner_answers_with_what_it_acked_from_memory(guards: Guards) -> Sequence[Violation]:
    """Another conversation has pushed it out of L1 before it was logged."""
    cluster = Cluster(l1_entries=1)
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        await witness.write(a, "n", "from memory", durability=Durability.BUFFERED)
        await witness.write(a, "m", "other")
        shown = await witness.read(a, "n")
        await advance(6)
        found = witness.verdict()
    if "from memory" not in shown:
        found.append(Violation(Broken.EVICTED, "n", f"the owner answered {shown}"))
    return found
