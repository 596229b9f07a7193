"""The guards of the append: what is acknowledged is in the log once, in order, and told."""

import asyncio
from collections.abc import Sequence

from src.state.guards import Guards
from tests.guards.faults import standby
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance
from tests.support.cluster import Cluster
from tests.support.history import Broken, Violation


@without("epoch", Broken.STALE)
async def test_statement_of_a_replaced_owner_finds_no_row(guards: Guards) -> Sequence[Violation]:
    """It was on its way when the other took over, which would answer without it from then on."""
    cluster = Cluster(submit_timeout=20)
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        a.freeze()
        in_flight = asyncio.ensure_future(witness.write(a, "n", "late"))
        await advance(8)
        assert b.notebooks.holdings.owns("n")
        a.thaw()
        await in_flight
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("seq", Broken.HOLE, Broken.TAKEN)
async def test_owner_does_not_write_beyond_a_log_that_went_back(
    guards: Guards,
) -> Sequence[Violation]:
    """An asynchronous standby was promoted; the row names the same owner and epoch as before."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        promote = standby(cluster)
        # Logged, but never acknowledged: the announcement does not come back.
        a.bus_link.hold_answers()
        await witness.write(a, "n", "lost")
        promote()
        a.bus_link.release()
        await witness.write(a, "n", "two")
        await advance(2)
        await witness.write(a, "n", "two")
        await witness.read(b, "n")
    return witness.verdict()


@without("whole", Broken.HOLE, Broken.FORK)
async def test_repeat_in_a_batch_leaves_no_hole(guards: Guards) -> Sequence[Violation]:
    """The new owner does not remember the key, and decides the next command on top of it."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await a.notebooks.drain()
        await asyncio.gather(witness.write(b, "n", "one"), witness.write(b, "n", "two"))
    return witness.verdict()


@without("lookup", Broken.TAKEN)
async def test_repeat_is_not_refused(guards: Guards) -> Sequence[Violation]:
    """Its first attempt changed the very version that it asks for."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        one = await witness.write(a, "n", "one")
        a.log_link.hold_answers()
        await witness.write(a, "n", "two", if_version=one)
        a.freeze()
        await advance(8)
        await witness.write(b, "n", "two", if_version=one)
        a.thaw()
        await advance(1)
    return witness.verdict()


@without("lookup", Broken.TAKEN)
async def test_claim_that_landed_unanswered_is_not_lost(guards: Guards) -> Sequence[Violation]:
    """Sent again it matches no row: it stands there already."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        a.log_link.lost_answers = 1
        await witness.write(a, "n", "two")
    return witness.verdict()


@without("resend", Broken.TAKEN)
async def test_no_answer_is_no_refusal(guards: Guards) -> Sequence[Violation]:
    """The statement landed; only its answer did not come."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        a.log_link.lost_answers = 1
        await witness.write(a, "n", "two")
    return witness.verdict()


@without("announce", Broken.STALE)
async def test_other_servers_are_told_before_the_ack(guards: Guards) -> Sequence[Violation]:
    """A copy that nobody spoke of stays an answer."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        await witness.write(a, "n", "two")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("ack", Broken.STALE)
async def test_nothing_is_acked_that_redis_was_not_told(guards: Guards) -> Sequence[Violation]:
    """The way to Redis is open at one end only: no error tells the owner to fall back."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        a.bus_link.hold()
        write = asyncio.ensure_future(witness.write(a, "n", "two"))
        await advance(2.1)
        await witness.read(b, "n")
        a.bus_link.release()
        await write
    return witness.verdict()
