"""The grammar of Redis keys: `ss:{p}:<letter>:<id>`, with the partition as the hash tag.

All keys of one partition live in one cluster slot, so one script may touch them together.
"""

from __future__ import annotations

import zlib

from src.state.errors import MalformedVersion
from src.state.models import Version

PARTITIONS = 16
PREFIX = "ss"
REARMED_KEY = f"{PREFIX}-rearmed"
"""Stands while nobody has to give the bodies their time to live anew; not one of `ss:*`, which all
get it then."""


def partition_of(id: str) -> int:
    """Return crc32(id) mod 16."""
    return zlib.crc32(id.encode()) % PARTITIONS


def body_key(kind: str, id: str) -> str:
    """Return the key of the hash that holds an aggregate's body and head."""
    return f"{PREFIX}:{{{partition_of(id)}}}:{kind}:{id}"


def bus_key(partition: int) -> str:
    """Return the key of the hash {inc, n} that numbers a partition's announcements."""
    return f"{PREFIX}:{{{partition}}}:bus"


def stream_key(partition: int) -> str:
    """Return the key of the capped stream, which is also the name of the channel."""
    return f"{PREFIX}:{{{partition}}}:inval"


def sortable(version: Version) -> str:
    """Write a version so that scripts compare it as text: 32 hex digits."""
    return f"{version.epoch:016x}{version.seq:016x}"


def from_sortable(text: str | bytes) -> Version:
    """Read what `sortable` wrote."""
    digits = text.decode() if isinstance(text, bytes) else text
    if len(digits) != 32:
        raise MalformedVersion(digits)
    return Version(int(digits[:16], 16), int(digits[16:], 16))


def rate_key(name: str) -> str:
    """Return the key of the hash that counts a rate; not one of `ss:*`, whose time to live is
    renewed when Redis comes back."""
    return f"{PREFIX}-rate:{name}"
