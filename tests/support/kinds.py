"""A kind of aggregate so small that a test is about the mechanism and not about it: a notebook.

It uses the tables of conversations, so the same kind goes into memory and into PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from src.state.errors import NotFound, Refused
from src.state.models import Claim, Context, Entry, Event, Meta, Version, event_id
from src.state.protocols import Kind, ReadModel

BEGAN = datetime(2030, 1, 1, 12, tzinfo=UTC)


GOES_ON = "to be continued"
"""A notebook that ends so is live: it needs an owner though nobody writes."""


class Notebook(msgspec.Struct, frozen=True, gc=False):
    """The lines in order."""

    lines: tuple[str, ...] = ()


class Write(msgspec.Struct, frozen=True, gc=False):
    """Add these lines, one event each."""

    lines: tuple[str, ...]


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Be refused."""


class Break(msgspec.Struct, frozen=True, gc=False):
    """Meet a defect of the rules."""


class Once(msgspec.Struct, frozen=True, gc=False):
    """Add a line that may stand there only once."""

    line: str


class Written(msgspec.Struct, frozen=True, gc=False):
    """The one kind of event."""

    line: str


Command = Write | Refuse | Break | Once


def decide(state: Notebook | None, command: Command, context: Context) -> Sequence[Written]:
    match command:
        case Write(lines):
            return [Written(line) for line in lines]
        case Once(line):
            if state is not None and line in state.lines:
                raise Refused("exists", f"{line!r} stands there already")
            return [Written(line)]
        case Refuse():
            if state is None:
                raise NotFound("notebook", context.key)
            raise Refused("no", "asked to refuse")
        case Break():
            raise ZeroDivisionError("a defect of the rules")


def fold(state: Notebook | None, event: Written, meta: Meta) -> Notebook:
    return Notebook((*(state or Notebook()).lines, event.line))


def decode_event(type: str, schema: int, body: bytes) -> Written:
    return msgspec.json.decode(body, type=Written)


def _summary(entry: Entry[Notebook]) -> tuple[Any, ...]:
    last = entry.state.lines[-1] if entry.state.lines else ""
    status = "running" if last == GOES_ON else "ready"
    return (entry.id, entry.version.seq, status, "", "ada", [], 0, last, BEGAN, BEGAN)


NOTEBOOKS: Kind[Notebook, Command] = Kind(
    name="notebook",
    heads="conversations",
    events="events",
    snapshots="snapshots",
    schema=2,
    decide=decide,
    fold=fold,
    encode_state=msgspec.json.Encoder().encode,
    decode_state=msgspec.json.Decoder(Notebook).decode,
    encode_event=msgspec.json.Encoder().encode,
    decode_event=decode_event,
    describe_event=lambda event: ("written", 1),
    read_models=(
        ReadModel(
            table="conversation_summaries",
            columns=(
                "conversation_id",
                "seq",
                "status",
                "goal",
                "created_by",
                "members",
                "turns",
                "last_text",
                "created_at",
                "updated_at",
            ),
            row=_summary,
            live=("status", "running"),
        ),
    ),
)
"""Schema 2, so that there is an older and a newer one."""


def of_schema(schema: int) -> Kind[Notebook, Command]:
    """The same kind in an older or a newer release."""
    return replace(NOTEBOOKS, schema=schema)


def written(id: str, epoch: int, seq: int, line: str | None = None, key: str = "") -> Event:
    """An event as a lane makes it."""
    text = f"line {seq}" if line is None else line
    return Event(
        id,
        Version(epoch, seq),
        event_id(key or f"{id}/{seq}", 0),
        "written",
        1,
        NOTEBOOKS.encode_event(Written(text)),
        "ada",
        BEGAN,
    )


def claim(id: str, epoch: int, base: int, *lines: str, key: str = "") -> Claim:
    """A claim of these lines on top of `base`."""
    events = [
        written(id, epoch, seq, line, key and f"{key}/{seq}")
        for seq, line in enumerate(lines, base + 1)
    ]
    return Claim(id, epoch, base, tuple(events))


def notebook(id: str, version: Version, *lines: str) -> Entry[Notebook]:
    """An entry with these lines."""
    return Entry(id, version, Notebook(lines))
