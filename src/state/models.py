"""The values that pass between the tiers: versions, entries, events, acknowledgements.

All are frozen and hold only frozen things, so a reader may keep what it was given and can change
nothing (I13). `gc=False` keeps them off the collector's list: they hold no cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from src.state.errors import MalformedVersion

S = TypeVar("S")


class Version(msgspec.Struct, frozen=True, order=True, gc=False):
    """(epoch, seq) of the last logged event that a value contains; compared in that order.

    A takeover does not change it: the epoch is the one under which that event was logged.
    Configs, which have no owner, use epoch 0 and count their edits in seq.
    """

    epoch: int
    seq: int

    @property
    def token(self) -> str:
        """The form clients see and send back in `X-Swarm-Version`: `<epoch>.<seq>`."""
        return f"{self.epoch}.{self.seq}"

    @classmethod
    def parse(cls, token: str) -> Version:
        """Read a token made by `token`.

        Raises:
            MalformedVersion: not two non-negative numbers below 2**63 joined by a dot.
        """
        epoch, dot, seq = token.partition(".")
        if not (dot and epoch.isascii() and epoch.isdigit() and seq.isascii() and seq.isdigit()):
            raise MalformedVersion(token)
        if len(epoch) > 19 or len(seq) > 19:
            raise MalformedVersion(token)
        version = cls(int(epoch), int(seq))
        if version.epoch >= 1 << 63 or version.seq >= 1 << 63:
            raise MalformedVersion(token)
        return version


ZERO = Version(0, 0)


class Durability(StrEnum):
    """How safe an acknowledged write is."""

    BUFFERED = "buffered"
    """In the owner's memory, in order; logged within 2 s (5 s at most)."""
    LOGGED = "logged"
    """In PostgreSQL's event log."""
    PENDING = "pending"
    """Held by a room host while PostgreSQL is away; logged on its return."""


class Where(StrEnum):
    """Which tier gave an answer."""

    OWNER = "owner"
    L1 = "l1"
    L2 = "l2"
    L3 = "l3"


class Entry(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """One state as a tier holds it."""

    id: str
    version: Version
    state: S
    ahead: Version | None = None
    """The version that this state will have when the buffered events folded into it are logged."""
    _body: bytes | None = None

    def body(self, encode: Callable[[S], bytes]) -> bytes:
        """Return the state's JSON bytes, made at the first call and kept beside the value."""
        if self._body is None:
            # Memo of a pure function of frozen fields: no reader can see a difference.
            msgspec.structs.force_setattr(self, "_body", encode(self.state))
        return self._body  # type: ignore[return-value]  # set above; mypy keeps the first type

    @property
    def size(self) -> int | None:
        """Bytes of the state's JSON; None until somebody asked for it."""
        return None if self._body is None else len(self._body)

    @property
    def etag(self) -> str:
        """A strong HTTP entity tag: changes whenever the state does."""
        suffix = f"+{self.ahead.token}" if self.ahead else ""
        return f'"{self.version.token}{suffix}"'


class Read(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """An entry together with what is known about the answer."""

    entry: Entry[S]
    where: Where
    stale_s: float | None = None
    """None: fresh (contains every write acknowledged more than 2 s before). Else seconds since
    this server last knew that it was; infinite when it may never have known."""


class Meta(msgspec.Struct, frozen=True, gc=False):
    """What the log knows about an event beside its body; `fold` gets it with the event."""

    version: Version
    event_id: str
    actor: str
    at: datetime
    aggregate_id: str = ""
    """Empty while a command is being decided."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One row of the log.

    `body` is the JSON of the typed event; seq is dense per aggregate, from 1. An event that is only
    buffered carries the version of the last logged one until it gets its own.
    """

    aggregate_id: str
    version: Version
    event_id: str
    type: str
    schema: int
    body: bytes
    actor: str
    at: datetime

    @property
    def meta(self) -> Meta:
        return Meta(self.version, self.event_id, self.actor, self.at, self.aggregate_id)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """All events of one aggregate in one batch; they build on `base_seq` and follow it."""

    aggregate_id: str
    epoch: int
    base_seq: int
    events: tuple[Event, ...]


class Held(msgspec.Struct, frozen=True, gc=False):
    """The ownership row after a successful acquire: it is ours from `epoch` on."""

    epoch: int
    seq: int


class OwnedBy(msgspec.Struct, frozen=True, gc=False):
    """The ownership row of an aggregate that lives elsewhere."""

    server_id: str
    epoch: int
    seq: int


class Term(msgspec.Struct, frozen=True, gc=False):
    """A server's time in charge of a duty; over as soon as the row says anything else."""

    duty: str
    server_id: str
    epoch: int


class Places(msgspec.Struct, frozen=True, gc=False):
    """Voice rooms that a server can host at once, and how many it hosts.

    A capacity of 0: it takes none, or none any more.
    """

    capacity: int = 0
    load: int = 0


NO_PLACES = Places()


class Peer(msgspec.Struct, frozen=True, gc=False):
    """A server as its row in L3 describes it."""

    id: str
    url: str
    beat: int
    announces: bool
    dead: bool
    places: Places = NO_PLACES


class Announcement(msgspec.Struct, frozen=True, gc=False):
    """Something changed: which one, and up to which version. Never the value."""

    kind: str
    id: str
    version: Version


class Change(msgspec.Struct, frozen=True, gc=False):
    """A row of the outbox: which config was committed, at which version, and when."""

    position: int
    """Its place; later commits have higher ones."""
    kind: str
    id: str
    version: int
    at: datetime

    @property
    def announcement(self) -> Announcement:
        return Announcement(self.kind, self.id, Version(0, self.version))


class Ack(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """The answer to a command that was taken."""

    version: Version
    durability: Durability
    entry: Entry[S]
    """The state right after the command, or a later one."""
    repeated: bool = False
    """The key was seen before: this is the first result again and nothing was added."""


class Context(msgspec.Struct, frozen=True, gc=False):
    """What `decide` may know beside state and command, so that it needs no clock and no chance."""

    key: str
    """The command's idempotency key; event n of it gets the id `<key>:<n>`."""
    actor: str
    at: datetime
    """UTC; never before the aggregate's previous event."""


def event_id(key: str, index: int) -> str:
    """Name the index-th event of the command with this key."""
    return f"{key}:{index}"


def command_key(event_id: str) -> str:
    """Return the key of the command that made an event."""
    return event_id.rpartition(":")[0]
