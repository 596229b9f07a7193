"""What clients know for certain: an append-only file of what they posted, what was acked, and what
they were shown.

A line is with the kernel before the turn counts as acked, so the ledger outlives every process
that it is held against. Moments (`at`, `began`, `ended`) are seconds of `time.monotonic()`, which
all processes of one machine share; lines stand in the order in which things were learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import msgspec

from src.state.models import Durability, Version


class Posted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="posted"):
    """A turn on its way, written before its first attempt: from here on it may be in the log."""

    conversation: str
    key: str
    speaker: str
    text: str
    """`digest` of what was said."""
    at: float | None = None
    events: int = 1
    """How many rows of the log the command makes; the digest is of the first."""


class Acked(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="acked"):
    """The turn is promised to be in the log at `version`, its last event's.

    `buffered` and `pending` promise less: the version is the last logged one before it, and the
    turn may be lost with the process that holds it.
    """

    conversation: str
    key: str
    version: Version
    repeated: bool = False
    """The server said that it knew the key: an earlier attempt had been taken."""
    attempts: int = 1
    at: float | None = None
    """When the answer was there; without it no read is asked to contain this turn (I6)."""
    durability: Durability = Durability.LOGGED


class Unknown(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="unknown"):
    """No ack before the client's deadline: the turn may be in the log, once, or not at all."""

    conversation: str
    key: str
    attempts: int


class Refused(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="refused"):
    """Every attempt was answered by an error that says that nothing was changed."""

    conversation: str
    key: str
    code: str


class Seen(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="seen"):
    """An answer to a read. "Not found" is version 0.0 with no turns.

    A client that asks several servers sends the version that it has (`asked`), or what it sees may
    go back: whoever does not send it is a client per server, and a server is one process.
    """

    client: str
    conversation: str
    version: Version
    began: float
    """Before the request left."""
    ended: float
    stale: str | None = None
    """The label, None on a fresh answer."""
    asked: Version | None = None
    turns: int | None = None
    """How many turns the state counts; None where unlogged ones are among them, or unknown."""
    last: str | None = None
    """Key of the newest turn in it; None if there is none, or unknown."""


class Unseen(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="unseen"):
    """A read that was answered by an error, or not at all."""

    client: str
    conversation: str
    began: float
    ended: float
    code: str


class Died(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="died"):
    """A process was killed, or frozen beyond its deadline: what only it held may be gone."""

    process: str
    at: float
    held: tuple[str, ...] = ()
    """Conversations that it may have had something of; empty: any."""


class Away(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="away"):
    """No server could reach PostgreSQL from `began` to `ended`."""

    began: float
    ended: float
    cached: tuple[str, ...] = ()
    """Conversations that every server that was read from had in L1 or L2."""


Line = Posted | Acked | Unknown | Refused | Seen | Unseen | Died | Away
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Ledger:
    """The file, open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, line: Line) -> None:
        """Append one line; it is with the kernel on return."""
        self._file.write(_encoder.encode(line) + b"\n")

    def read(self) -> Sequence[Line]:
        """Return all lines, in the order they were written."""
        return tuple(self.lines())

    def lines(self) -> Iterator[Line]:
        """Yield the same one by one: a long proof's ledger need not fit into memory."""
        return lines_of(self.path)


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the lines of a ledger's file."""
    with path.open("rb") as file:
        yield from map(_decoder.decode, file)


def digest(text: str) -> str:
    """Return what the ledger keeps of a text."""
    return sha256(text.encode()).hexdigest()[:16]
