"""What can go wrong with state, as a tree.

StateError
├── MalformedVersion      a version token that is not `<epoch>.<seq>`
├── Refused               a command that the current state does not allow; nothing was changed
│   ├── NotFound          no such aggregate, or it was deleted
│   └── VersionConflict   `if_version` names another version than the current one
├── NotOwner              another server owns this aggregate: forward to it
├── OwnershipLost         it was ours until now: terminal for the command, never rebased
├── OwnershipUnknown      our beat is too old to act as owner, or nobody can be asked
├── OutcomeUnknown        the log has not answered yet: the same key may be sent again
├── Overloaded            too much is waiting to be written
├── Behind                no reachable tier has the version that was asked for
├── EventRefused          the log can never take this event (encoding, size); it is quarantined
├── MayNotErase           the database role may not delete events
├── Undecodable           bytes of a newer or broken writer
└── TierUnavailable       a tier did not answer within its time-out
    ├── SharedTierUnavailable    L2 (Redis)
    ├── BlobsUnavailable         the store of files' bytes
    └── DurableTierUnavailable   L3 (PostgreSQL)
        └── ReadOnly             L3 takes no commits now: nothing was changed
"""

from __future__ import annotations


class StateError(Exception):
    """Base of everything this room raises on purpose."""


class MalformedVersion(StateError):
    """A version token could not be read."""

    def __init__(self, token: str) -> None:
        super().__init__(
            f"version {token[:64]!r} is not of the form <epoch>.<seq>; send one that we gave you"
        )


class Refused(StateError):
    """The current state does not allow the command; nothing was changed.

    `code` is a constant for machines, `field` the place in the command at fault, if there is one.
    """

    def __init__(self, code: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field


class NotFound(Refused):
    """There is no such aggregate, or it was deleted."""

    def __init__(self, kind: str, aggregate_id: str) -> None:
        super().__init__("not_found", f"there is no {kind} {aggregate_id!r}")
        self.kind, self.aggregate_id = kind, aggregate_id


class VersionConflict(Refused):
    """The caller's `if_version` or `If-Match` names another version than the current one.

    `expected` and `found` are as the client writes them: the token of a state's version, the number
    of a config's.
    """

    def __init__(self, aggregate_id: str, expected: str | int, found: str | int) -> None:
        super().__init__(
            "version_conflict",
            f"{aggregate_id}: expected version {expected}, found {found}; read again and decide",
            field="if_version",
        )
        self.expected, self.found = expected, found


class NotOwner(StateError):
    """Another server owns this aggregate; send the command there."""

    def __init__(self, aggregate_id: str, server_id: str) -> None:
        super().__init__(f"{aggregate_id} is owned by server {server_id}; forward the command")
        self.aggregate_id, self.server_id = aggregate_id, server_id


class OwnershipLost(StateError):
    """This server owned the aggregate when it took the command and no longer does.

    Terminal by type: the command must not be rebased here. Its key may be sent to the new owner.
    """

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(f"{aggregate_id} has a new owner; send the same key there")
        self.aggregate_id = aggregate_id


class OwnershipUnknown(StateError):
    """Nobody can say right now who owns the aggregate."""

    def __init__(self, aggregate_id: str, why: str) -> None:
        super().__init__(f"the owner of {aggregate_id} is not known: {why}; try again")
        self.aggregate_id = aggregate_id


class OutcomeUnknown(StateError):
    """The log has not said whether the event is in. It is sent again until it answers."""

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(f"{aggregate_id}: not known yet whether it was logged; repeat the key")
        self.aggregate_id = aggregate_id


class Overloaded(StateError):
    """More is waiting to be written than the bounds allow."""

    def __init__(self, what: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{what}; try again in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Behind(StateError):
    """A version was asked for that no reachable tier has yet."""

    def __init__(self, aggregate_id: str, wanted: str, found: str | None) -> None:
        super().__init__(f"{aggregate_id}: asked for version {wanted}, newest here is {found}")
        self.aggregate_id = aggregate_id


class EventRefused(StateError):
    """The log answered that it can never take an event of this aggregate."""

    def __init__(self, aggregate_id: str, why: str) -> None:
        super().__init__(f"{aggregate_id}: the log refuses the event ({why}); it is quarantined")
        self.aggregate_id = aggregate_id


class MayNotErase(StateError):
    """The log is for adding only, for the role that is connected."""

    def __init__(self) -> None:
        super().__init__(
            "the database role may not delete events: set SWARMSTATE_ERASE_DATABASE_URL to the "
            "database with a role that may (`swarmstate migrate --erase-role` grants it)"
        )


class Undecodable(StateError):
    """Stored bytes that this release cannot read."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be decoded: {why}")


class TierUnavailable(StateError):
    """A tier did not answer within its time-out; safe to repeat."""


class SharedTierUnavailable(TierUnavailable):
    """Redis did not answer."""


class BlobsUnavailable(TierUnavailable):
    """The store of files' bytes refused, is full or did not answer; nothing half done is kept."""


class DurableTierUnavailable(TierUnavailable):
    """PostgreSQL did not answer."""


class ReadOnly(DurableTierUnavailable):
    """PostgreSQL takes no commits, so the command was not taken; send it again later."""

    def __init__(self, aggregate_id: str, why: str = "") -> None:
        because = f": {why}" if why else ""
        super().__init__(f"PostgreSQL is away, so {aggregate_id} cannot be changed now{because}")
        self.aggregate_id = aggregate_id


class DuplicateEvent(StateError):
    """An event id of the batch is in the log already. Internal to the group commit."""


class UnfitEvent(StateError):
    """The database answered that it can never take a row of the batch. Internal as well."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
