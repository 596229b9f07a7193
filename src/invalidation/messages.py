"""What goes over the wire: who announced which versions, under which number."""

from __future__ import annotations

import msgspec

from src.state.errors import Undecodable
from src.state.models import Announcement, Version


class Message(msgspec.Struct, frozen=True, gc=False):
    """One numbered message of one partition. It names changes and carries no values."""

    partition: int
    incarnation: str
    """Which life of the partition's counter the number belongs to."""
    n: int
    """Dense within an incarnation, from 1."""
    origin: str
    """Id of the server that announced."""
    changes: tuple[Announcement, ...]


class _Wire(msgspec.Struct, array_like=True):
    origin: str
    changes: list[tuple[str, str, int, int]]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Wire)


def encode_changes(origin: str, changes: tuple[Announcement, ...]) -> bytes:
    """Write origin and changes; number and incarnation are added by the script that counts."""
    rows = [(c.kind, c.id, c.version.epoch, c.version.seq) for c in changes]
    return _encoder.encode(_Wire(origin, rows))


def decode_message(partition: int, data: bytes) -> Message:
    """Read `<incarnation> <n> <changes>` as the script publishes it.

    Raises:
        Undecodable: anything else.
    """
    try:
        incarnation, number, payload = data.split(b" ", 2)
        wire = _decoder.decode(payload)
        changes = tuple(
            Announcement(kind, id, Version(epoch, seq)) for kind, id, epoch, seq in wire.changes
        )
        return Message(partition, incarnation.decode(), int(number), wire.origin, changes)
    except ValueError as error:
        raise Undecodable(f"invalidation in partition {partition}", str(error)) from error
