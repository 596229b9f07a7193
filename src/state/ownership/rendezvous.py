"""Who comes first for an id, when all ask the same and nobody asks anybody.

Rendezvous hashing (Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996):
every server scores every id by itself, so that all who see the same servers agree, each server
comes first for an even share, and one server's going changes nothing between the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def _score(id: str, server_id: str) -> tuple[bytes, str]:
    return blake2b(f"{id} {server_id}".encode(), digest_size=8).digest(), server_id


def rank(id: str, server_id: str, servers: Iterable[str]) -> int:
    """Return how many of these servers come before this one for an id: 0 when it is the first."""
    mine = _score(id, server_id)
    return sum(_score(id, other) > mine for other in servers if other != server_id)


def first(id: str, servers: Iterable[str]) -> str | None:
    """Return the server that comes first for an id; None when there is no server."""
    return max(servers, key=lambda server_id: _score(id, server_id), default=None)
