"""Changes of configs as they are committed, on any server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime

from swarmstate_client.asks import Ask, at, query
from swarmstate_client.decoding import parse, read
from swarmstate_client.streams import Frame, follow
from swarmstate_client.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A config that was committed at a version; read the value from any server."""

    position: int
    kind: str
    id: str
    version: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Changes before `position` cannot be told any more: read everything anew, then go on."""

    position: int


def changes(
    transport: Transport, kinds: Sequence[str], ids: Sequence[str], after: int | None
) -> AsyncGenerator[Change | Reset, None]:
    """Give every committed change of these kinds and ids (of all, without any), in order."""
    asked = query(kind=kinds, id=ids, after=after)
    return follow(transport, Ask(method="GET", path=at("/changes"), query=asked), None, _change)


def _change(frame: Frame) -> Change | Reset | None:
    if frame.event == "change":
        return read(Change, parse(frame.data, "change"), "change")
    if frame.event == "reset":
        return read(Reset, parse(frame.data, "reset"), "reset")
    return None
