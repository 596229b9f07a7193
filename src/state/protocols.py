"""Every seam of this room, and nothing else.

`Kind` says what is particular to one kind of aggregate; the rest are the ports that the store, the
group commit, the write-behind buffer and the ownership code stand on. Beside each real
implementation in `tiers/` stands one in memory; `tests/contracts` holds both to these texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from src.state.models import (
    NO_PLACES,
    Announcement,
    Change,
    Claim,
    Context,
    Entry,
    Event,
    Held,
    Meta,
    OwnedBy,
    Peer,
    Places,
    Version,
)

S = TypeVar("S")
C = TypeVar("C")

PAGE = 1000
"""Events in one read of a tail at the most."""

PULLED = 1000
"""Config changes in one pull at the most."""


def _never(_: object) -> bool:
    return False


Trip: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""The way to a store and back: what fails before the block was never done, what fails after it was
done without an answer."""
open_way: Trip = nullcontext
"""A way that nobody shuts."""


@dataclass(frozen=True, slots=True)
class ReadModel(Generic[S]):
    """A table with one row per aggregate, derived from its state, written with the snapshot.

    The first column is the aggregate's id, the second its seq; a row is overwritten by that of a
    newer seq only.
    """

    table: str
    columns: tuple[str, ...]
    row: Callable[[Entry[S]], tuple[Any, ...]]
    live: tuple[str, Any] | None = None
    """(column, value) of an aggregate that needs an owner even while nobody writes to it."""
    live_seq: str | None = None
    """Column for the seq once more, written together with `live`. A release that does not know of
    `live` leaves both as they are, and then the aggregate counts as live."""

    def shows_live(self, row: tuple[Any, ...]) -> bool:
        """Whether this row is that of such an aggregate, or nobody knows."""
        if self.live is None:
            return False
        if self.live_seq is not None and row[self.columns.index(self.live_seq)] != row[1]:
            return True
        return bool(row[self.columns.index(self.live[0])] == self.live[1])


@dataclass(frozen=True, slots=True)
class Kind(Generic[S, C]):
    """What is particular to one kind of aggregate; all mechanisms are shared.

    `decide` and `fold` are pure. `decide` raises `Refused`, or `DurableTierUnavailable` when it is
    given something to look at that is not at hand; `fold` accepts every event that was ever
    decided. The state before the first event is None.
    """

    name: str
    heads: str
    """Table of ownership rows."""
    events: str
    snapshots: str
    schema: int
    decide: Callable[[S | None, C, Context], Sequence[msgspec.Struct]]
    fold: Callable[[S | None, Any, Meta], S]
    encode_state: Callable[[S], bytes]
    decode_state: Callable[[bytes], S]
    encode_event: Callable[[Any], bytes]
    decode_event: Callable[[str, int, bytes], Any]
    describe_event: Callable[[Any], tuple[str, int]]
    """Give the type and the schema number under which an event is logged."""
    read_models: tuple[ReadModel[S], ...] = ()
    awaits: Callable[[S], bool] = _never
    """Whether its owner has something to do later, even if nobody writes: no owner gives it up for
    being idle. A read model has to show it as live."""

    def is_live(self, entry: Entry[S]) -> bool:
        """Whether work is in progress that needs an owner even while nobody writes.

        Others take it from an owner that is gone, and an owner that leaves alone leaves it to them.
        """
        return any(model.shows_live(model.row(entry)) for model in self.read_models)


class Stored(Protocol[S]):
    """What a tier must know of a kind; every `Kind` is one, and so is a kind of config."""

    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> int: ...
    @property
    def encode_state(self) -> Callable[[S], bytes]: ...
    @property
    def decode_state(self) -> Callable[[bytes], S]: ...


class Clock(Protocol):
    """Time, so that tests and the simulation can own it."""

    def now(self) -> datetime:
        """Wall time, UTC-aware. Nothing of the protocol compares it between machines."""

    def monotonic(self) -> float:
        """Seconds that also pass while the machine sleeps; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A state's bytes as L2 and L3 hold them."""

    id: str
    version: Version
    schema: int
    body: bytes
    incarnation: str = ""
    """The life of Redis that was known when the state was taken; L2 alone uses it."""


class SharedCopy(msgspec.Struct, frozen=True, gc=False):
    """What L2 holds for an id."""

    snapshot: Snapshot
    current: bool
    """True: at its head and of this incarnation, so it is an answer. False: only a base."""


class SharedTier(Protocol):
    """L2: a cache for all servers. It may be cleared at any moment and nothing is lost.

    Every method raises SharedTierUnavailable when Redis does not answer within the time-out.
    """

    async def get(self, kind: str, id: str) -> SharedCopy | None:
        """Return the body held for an id; None when there is none."""

    async def put(self, kind: str, snapshots: Sequence[Snapshot]) -> int:
        """Store each one unless a newer version is there (I9); return how many were stored."""

    async def delete(self, kind: str, ids: Sequence[str]) -> None:
        """Forget these bodies; heads stay."""

    async def rearm(self) -> int | None:
        """Give all that is held its whole time to live again; return how much that was.

        None when another server has done so within the last quarter of that time.
        """


class EventLog(Protocol):
    """L3's append-only history of one kind, and the snapshots folded from it.

    Every method raises DurableTierUnavailable when PostgreSQL gave no answer. For `append` that
    means *unknown*: the rows may be in.
    """

    async def append(self, server_id: str, claims: Sequence[Claim]) -> frozenset[str]:
        """Append all drafts of each claim whose (owner, epoch, seq) still stands.

        A claim goes in whole or not at all; the ids of those that went in are returned.

        Raises:
            DuplicateEvent: an event id of one of them is in the log; nothing went in.
            UnfitEvent: the database can never take one of them; nothing went in.
        """

    async def find(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Version]:
        """Look up (aggregate id, event id) pairs; those in the log come back with their version."""

    async def load(self, id: str) -> tuple[Snapshot | None, Sequence[Event]]:
        """Return the snapshot and the events from its seq on (inclusive), in order, in one read.

        Without a snapshot the events start at 1. At most PAGE events; read on with `tail`.
        """

    async def tail(
        self, id: str, from_seq: int, limit: int = PAGE, max_bytes: int | None = None
    ) -> Sequence[Event]:
        """Return events with seq >= from_seq, in order.

        The event whose body makes them more than `max_bytes` together is the last one.
        """

    async def gone(
        self, known: Sequence[tuple[str, Version]]
    ) -> Mapping[tuple[str, Version], Version]:
        """Of (aggregate id, version) pairs, those that are not in the log.

        Each comes with the newest version of the aggregate that is; (0, 0) when there is none.
        What lies before the oldest event that is left was erased, and is not meant.
        """

    async def quarantine(self, events: Sequence[Event], why: str) -> None:
        """Keep events that the log can never take where an operator finds them.

        Each (aggregate, event id) is kept once. Characters that no text column can hold are
        replaced in their names; bodies stay as they are.
        """

    async def save(self, entries: Sequence[Entry[Any]]) -> None:
        """Write snapshots and read models in one transaction, each unless a newer one is there.

        On another timeline than the server's own nothing is written, which is no answer: what was
        folded on a branch that did not survive must not be derived data of the one that did.
        """


class Eraser(Protocol):
    """Removes what must not be kept from L3's history of one kind; the service itself cannot."""

    async def erase(self, id: str, tombstone: Version) -> int:
        """Remove all events before an aggregate's last one; return how many there were.

        Nothing is removed unless the last event is the tombstone and has this version. Broken off,
        it leaves a history that still folds to the tombstone, and is to be repeated. What is
        quarantined of the aggregate goes too.

        Raises:
            MayNotErase: the database role that was given may not delete events.
            DurableTierUnavailable: no answer; some may be removed.
        """


class Ownership(Protocol):
    """L3's ownership rows of one kind. Raises DurableTierUnavailable like EventLog."""

    async def acquire(self, server_id: str, id: str, *, create: bool) -> Held | OwnedBy | None:
        """Make this server the owner if the row is free, ours, or its owner is dead or gone.

        With `create` a missing row is made; without, a missing row gives None. Each success raises
        the epoch, so whatever an earlier owner still sends is refused from then on.
        """

    async def release(self, server_id: str, held: Mapping[str, int]) -> None:
        """Give up rows (id -> epoch) that are still ours at that epoch."""

    async def hand_over(self, server_id: str, held: Mapping[str, int], to: str) -> frozenset[str]:
        """Give rows (id -> epoch) that are still ours at that epoch to a living server.

        Each one's epoch rises by one. Returns the ids of those that moved; none does when `to` is
        dead or gone.
        """

    async def orphans(self, server_id: str, after: str, limit: int) -> Sequence[str]:
        """Ids > `after`, in order, whose owner is `server_id` and which cannot wait for use.

        Those are the ones with unsnapshotted events and the live ones (`ReadModel.live`).
        """


class Duties(Protocol):
    """L3's rows of work that one server does for all."""

    async def hold(self, server_id: str, names: Sequence[str]) -> Mapping[str, int]:
        """Take these duties where no living server has them; return the epochs of those we have.

        Each change of hands raises the epoch. Raises DurableTierUnavailable without an answer.
        """


class Pulled(msgspec.Struct, frozen=True, gc=False):
    """What one pull of L3 saw."""

    peers: tuple[Peer, ...]
    changes: tuple[Change, ...]
    """Config changes committed since the last pull, in order."""
    outbox_position: int
    """Where to go on; lower than asked for when the outbox itself went back (a restore)."""
    timeline: int
    more: bool = False
    """Whether it was cut short: what was committed beyond `outbox_position` is not here."""


class Registry(Protocol):
    """L3's list of server processes and their beats."""

    async def register(self, server_id: str, url: str) -> None:
        """Add this process."""

    async def beat(self, server_id: str, places: Places = NO_PLACES) -> bool:
        """Raise our beat by one and say what places we have.

        False when somebody declared us dead (or the row is gone).
        """

    async def declare_dead(self, server_id: str, beat: int) -> bool:
        """Declare a server dead if its beat is still this one; False when it moved."""

    async def set_announces(self, server_id: str, announces: bool) -> bool:
        """Say whether a server's announcements reach Redis; False when there is no such server."""

    async def pull(self, outbox_after: int) -> Pulled:
        """Read the living servers, the outbox beyond that position, and the timeline."""

    async def leave(self, server_id: str) -> None:
        """Mark this process dead: it has released what it owned."""


class ChangePublisher(Protocol):
    """Tells other servers what changed. Implemented by the invalidation room."""

    async def publish(self, changes: Sequence[Announcement]) -> None:
        """Return when every live server can hear of these changes within its pull interval."""
