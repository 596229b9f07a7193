"""What a client knows for certain: an append-only file of what it posted and what was acked.

A line is with the kernel before the turn counts as acked, so the ledger outlives every process
that it is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import msgspec

from src.state.models import Version


class Posted(msgspec.Struct, frozen=True, gc=False, tag="posted"):
    """A turn on its way, written before its first attempt: from here on it may be in the log."""

    conversation: str
    key: str
    speaker: str
    text: str
    """`digest` of what was said."""


class Acked(msgspec.Struct, frozen=True, gc=False, tag="acked"):
    """The turn is promised to be in the log at `version`."""

    conversation: str
    key: str
    version: Version
    repeated: bool = False
    """The server said that it knew the key: an earlier attempt had been taken."""
    attempts: int = 1


class Unknown(msgspec.Struct, frozen=True, gc=False, tag="unknown"):
    """No ack before the client's deadline: the turn may be in the log, once, or not at all."""

    conversation: str
    key: str
    attempts: int


Line = Posted | Acked | Unknown
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
        return tuple(map(_decoder.decode, self.path.read_bytes().splitlines()))


def digest(text: str) -> str:
    """Return what the ledger keeps of a text."""
    return sha256(text.encode()).hexdigest()[:16]
