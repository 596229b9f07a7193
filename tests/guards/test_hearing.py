"""The guards of the invalidations: what one way of hearing missed, another one finds."""

from collections.abc import Sequence

from src.state.guards import Guards
from src.state.tiers.keys import partition_of
from tests.guards.faults import dump, lost_messages, lost_notices
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance, settle
from tests.support.cluster import Cluster
from tests.support.history import Broken, Violation

NEIGHBOUR = next(id for id in map(str, range(1000)) if partition_of(id) == partition_of("n"))


@without("replay", Broken.STALE)
async def test_message_before_a_gap_is_not_skipped(guards: Guards) -> Sequence[Violation]:
    """The next message of its partition tells that one is missing."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        with lost_messages(cluster):
            await witness.write(a, "n", "two")
        await witness.write(a, NEIGHBOUR, "other")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("pull", Broken.STALE)
async def test_last_message_is_not_lost_for_good(guards: Guards) -> Sequence[Violation]:
    """No other message follows that could tell of it."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        with lost_messages(cluster):
            await witness.write(a, "n", "two")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("incarnation", Broken.STALE)
async def test_numbers_of_an_earlier_life_hide_nothing(guards: Guards) -> Sequence[Violation]:
    """Redis came back from an old dump: the next messages have numbers that were heard before."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        restart = dump(cluster)
        await witness.write(a, NEIGHBOUR, "heard")
        await witness.write(a, NEIGHBOUR, "heard too")
        await advance(0.1)
        restart()
        await advance(0.6)
        await witness.write(a, "n", "two")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("silent", Broken.STALE)
async def test_copies_are_doubted_while_an_owner_is_silent(
    guards: Guards,
) -> Sequence[Violation]:
    """It sends notices instead, which are not numbered: nobody can know that one was lost."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        a.bus_link.up = False
        with lost_notices(cluster):
            await witness.write(a, "n", "two")
        await advance(2.1)
        await witness.read(b, "n")
    return witness.verdict()


@without("sent", Broken.STALE)
async def test_pull_vouches_from_when_it_was_sent(guards: Guards) -> Sequence[Violation]:
    """Its answer was long on the way, and what was announced meanwhile got lost."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await witness.read(b, "n")
        await advance(0.4)
        b.bus_link.hold_answers()
        await advance(0.2)
        with lost_messages(cluster):
            await witness.write(a, "n", "two")
        await advance(2.1)
        b.bus_link.release()
        await settle()
        await witness.read(b, "n")
    return witness.verdict()
