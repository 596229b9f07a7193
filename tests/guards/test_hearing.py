"""The guards of the invalidations: what one way of hearing missed, another one finds."""

from collections.abc import Sequence

from src.state.guards import Guards
from src.state.keys import partition_of
from tests.guards.faults import lost_messages
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance
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
