"""Which life of Redis each partition is in, as far as this server knows.

An incarnation joins a random number kept in Redis, the run id of the Redis process, and the
timeline of PostgreSQL: FLUSHALL loses the first, a restart from an old dump changes the second, a
failover of PostgreSQL the third. Written by the invalidation room at each pull, read by L2: what
was stored in another life is a base, never an answer.
"""

from __future__ import annotations

from src.state.tiers.keys import PARTITIONS, partition_of


class Incarnations:
    """The incarnation of each partition; empty while unknown or in doubt.

    In doubt is all of it from a sign that Redis may be another one (the subscription broke, it gave
    no answer) until a question that was asked later is answered: a Redis that came back from an old
    dump holds bodies of the very life that is known here.
    """

    def __init__(self) -> None:
        self._known = [""] * PARTITIONS
        self._certain_since = 0
        self.doubts = 0

    def of(self, id: str) -> str:
        """Return the incarnation that an id's partition is in."""
        return self._known[partition_of(id)] if self._certain_since == self.doubts else ""

    def doubt(self) -> None:
        """Note a sign that Redis may be another one."""
        self.doubts += 1

    def certain(self, doubts: int) -> None:
        """Note that all partitions were learnt by a question asked after so many doubts."""
        self._certain_since = doubts

    def get(self, partition: int) -> str:
        """Return a partition's incarnation."""
        return self._known[partition]

    def learn(self, partition: int, incarnation: str) -> bool:
        """Note what Redis said; True when it differs from what was known before."""
        changed = self._known[partition] != incarnation
        self._known[partition] = incarnation
        return changed
