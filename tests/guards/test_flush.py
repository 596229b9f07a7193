"""The guards of the write-behind: what follows from the log gets where it belongs."""

from collections.abc import Sequence

from src.state.guards import Guards
from tests.guards.table import without
from tests.guards.witness import Witness
from tests.support.clock import advance
from tests.support.cluster import Cluster
from tests.support.history import Broken, Violation


@without("flush", Broken.UNLIKE)
async def test_snapshot_follows_the_log(guards: Guards) -> Sequence[Violation]:
    """At rest every place holds the fold of the log."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", guards=guards) as [a]:
        await witness.write(a, "n", "one")
        await advance(6)
        return witness.verdict(at_rest=True)


@without("newer", Broken.OLDER, Broken.UNLIKE)
async def test_late_flush_does_not_replace_a_newer_one(guards: Guards) -> Sequence[Violation]:
    """It was under way when its server was stopped; another one took over and flushed more."""
    cluster = Cluster()
    witness = Witness(cluster)
    async with cluster.open("a", "b", guards=guards) as [a, b]:
        await witness.write(a, "n", "one")
        await advance(1.9)
        a.freeze()
        await advance(8)
        await witness.write(b, "n", "two")
        await advance(2.5)
        flushed = cluster.snapshot("n")
        assert flushed is not None
        a.thaw()
        await advance(0.1)
        found = witness.verdict(at_rest=True)
        now = cluster.snapshot("n")
    if now is None or now < flushed:
        found.append(Violation(Broken.OLDER, "n", f"L3 had {flushed}, now it has {now}"))
    return found
