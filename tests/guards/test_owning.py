"""The guards of ownership: a new owner knows everything, and a living one is left alone."""

import asyncio
from collections.abc import Sequence

from src.state.guards import Guards
from src.state.models import Durability
from tests.guards.faults import lost_messages, standby
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance, settle
from tests.support.cluster import Cluster
from tests.support.history import Broken, Violation


@without("fence", Broken.STALE)
async def test_new_owner_reads_after_nobody_else_can_write(guards: Guards) -> Sequence[Violation]:
    """Between its two steps the old owner acks a last write and lets go."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        b.owner_link.hold()
        acquired = asyncio.ensure_future(b.notebooks.holdings.acquire("n", create=False))
        await settle()
        await witness.write(a, "n", "two")
        await a.notebooks.drain()
        b.owner_link.release()
        await acquired
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("recount", Broken.LOST)
async def test_outage_of_the_database_makes_nobody_dead(guards: Guards) -> Sequence[Violation]:
    """It is over before the owner beats again, and what that one acked from memory is not logged.

    The owner was past its deadline when that was due, and nobody has died.
    """
    cluster = Cluster(flush_debounce=4.5)
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await advance(9.9)
        await witness.write(a, "n", "from memory", durability=Durability.BUFFERED)
        cluster.database.available = False
        await advance(8.2)
        a.beat_link.hold()
        cluster.database.available = True
        await advance(1)
        a.beat_link.release()
        await advance(11)
        await witness.read(b, "n")
    return witness.verdict()


@without("deadline", Broken.STALE)
async def test_owner_past_its_deadline_is_a_plain_reader(guards: Guards) -> Sequence[Violation]:
    """It hears nothing of the other that took over meanwhile."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        a.beat_link.hold()
        a.bus_link.up = False
        await advance(8)
        with lost_messages(cluster):
            await witness.write(b, "n", "two")
        await advance(2.1)
        await witness.read(a, "n")
    return witness.verdict()


@without("sent", Broken.STALE)
async def test_deadline_counts_from_when_the_beat_was_sent(
    guards: Guards,
) -> Sequence[Violation]:
    """The answer was long on the way; the others have counted since the beat arrived."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await advance(1.9)
        a.beat_link.hold_answers()
        await advance(4)
        a.beat_link.release()
        a.beat_link.hold()
        a.bus_link.up = False
        await advance(2.7)
        with lost_messages(cluster):
            await witness.write(b, "n", "two")
        await advance(2.1)
        await witness.read(a, "n")
    return witness.verdict()


@without("beat", Broken.LOST)
async def test_beat_in_the_last_moment_saves(guards: Guards) -> Sequence[Violation]:
    """It came between the look that was one too many and the sentence."""
    cluster = Cluster(flush_debounce=4.5)
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await advance(2.1)
        a.beat_link.hold()
        await advance(4.8)
        await witness.write(a, "n", "from memory", durability=Durability.BUFFERED)
        await advance(1.5)
        b.beat_link.hold_answers()
        await advance(0.2)
        a.beat_link.release()
        await settle()
        b.beat_link.release()
        await advance(6)
        await witness.read(b, "n")
    return witness.verdict()


@without("timeline", Broken.MISTOLD)
async def test_no_version_is_used_again_after_a_failover(guards: Guards) -> Sequence[Violation]:
    """On the lost branch an owner had the very epoch that comes next on the surviving one."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        promote = standby(cluster)
        await a.notebooks.drain()
        b.bus_link.hold_answers()
        await witness.write(b, "n", "lost")
        promote()
        b.bus_link.release()
        await advance(1)
        await witness.write(a, "n", "two")
        cold = cluster.server("cold", guards=guards)
        async with cold.running():
            await witness.read(cold, "n")
    return witness.verdict()
