"""What /status answers: who a server is, what it sees, and what it holds.

`SwarmStatus.summary` makes it. Closed, so that a field which is not here is found by the tests that
hold answers against the document.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from src.state.ladder.ladder import Rung
from src.state.writes.pressure import Colour


class Peer(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Another living server; without `announces` it tells its changes by PostgreSQL alone."""

    server_id: str
    url: str
    announces: bool


class Standing(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Where on the failure ladder the server stands, and how often it entered each rung."""

    rung: Rung
    since: datetime
    for_s: float
    returning: bool
    entered: dict[Rung, int]


class Tiers(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Which stores answer."""

    redis: bool
    postgres: bool


class Held(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The conversations that the server owns, and what of them waits to be written."""

    owned: int
    dirty: int
    oldest_dirty_s: float
    waiting_commands: int
    pressure: Colour
    held_bytes: int
    quarantined: int
    rooms: int
    followers: int
    pending_turns: int


class CutShort(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A conversation that a failover cut short: the version known here, and the one found."""

    id: str
    known: str
    found: str


class LostInFailover(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """How many conversations failovers cut short, and the latest of them."""

    conversations: int
    latest: tuple[CutShort, ...]


class ServerReport(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A server's own account. `stores` has the counters of each kind's tiers."""

    server_id: str
    url: str
    peers: tuple[Peer, ...]
    ladder: Standing
    tiers: Tiers
    conversations: Held
    lost_in_failover: LostInFailover
    stores: dict[str, dict[str, float]]


class Obeyed(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A bot or a team, and the version of its config that the conversation obeys; null: none."""

    id: str
    applied_version: int | None


class HostedRoom(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A running conversation, at its version, and the configs it obeys."""

    conversation_id: str
    version: str
    team: Obeyed | None
    bots: tuple[Obeyed, ...]


class RoomsReport(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The running conversations of this server: how many, and the first of them."""

    server_id: str
    hosted: int
    rooms: tuple[HostedRoom, ...]
