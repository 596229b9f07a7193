"""Which life of Redis each partition is in, as far as this server knows.

An incarnation joins a random number kept in Redis, the run id of the Redis process, and the
timeline of PostgreSQL: FLUSHALL loses the first, a restart from an old dump changes the second, a
failover of PostgreSQL the third. Written by the invalidation room at each pull, read by L2: what
was stored in another life is a base, never an answer.
"""

from __future__ import annotations

from src.state.keys import PARTITIONS, partition_of


class Incarnations:
    """The incarnation of each partition; empty while unknown."""

    def __init__(self) -> None:
        self._known = [""] * PARTITIONS

    def of(self, id: str) -> str:
        """Return the incarnation that an id's partition is in."""
        return self._known[partition_of(id)]

    def get(self, partition: int) -> str:
        """Return a partition's incarnation."""
        return self._known[partition]

    def learn(self, partition: int, incarnation: str) -> bool:
        """Note what Redis said; True when it differs from what was known before."""
        changed = self._known[partition] != incarnation
        self._known[partition] = incarnation
        return changed
