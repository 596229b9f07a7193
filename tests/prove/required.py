"""What the proof owes: each count with the least that it has to come to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tests.support.history import Broken


class Required(msgspec.Struct, frozen=True, gc=False):
    """One count of the proof."""

    count: str
    """Its name in `Result.counts`."""
    at_least: int
    words: str


REQUIRED = (
    Required("acked_turns", 1_000_000, "turns acknowledged to clients"),
    Required("kill_owner", 300, "kill -9 of the owner"),
    Required("kill_redis", 100, "kill -9 of Redis"),
    Required("kill_postgres", 50, "kill -9 of PostgreSQL"),
    Required("double", 50, "two of owner, Redis and PostgreSQL killed at once"),
    Required("sigstop", 50, "SIGSTOP of the owner beyond its deadline"),
    Required("flushall", 50, "FLUSHALL on Redis"),
    Required("old_dump", 20, "restarts of Redis from an old dump"),
    Required("seeds", 10_000, "seeds of the simulation"),
)
FORBIDDEN = (Broken.LOST, Broken.DOUBLED, Broken.FORK, Broken.STALE, Broken.BACK)
"""What may not happen once; any other broken promise fails the proof as well."""
IN_FLIGHT = 50
"""Turns that have to be in flight at each kill."""


def missing(counts: Mapping[str, int]) -> list[str]:
    """Say in words what of the requirements is not there yet."""
    return [
        f"{one.words}: {counts.get(one.count, 0):,} of {one.at_least:,}"
        for one in REQUIRED
        if counts.get(one.count, 0) < one.at_least
    ]
