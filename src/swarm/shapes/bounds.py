"""How long and how many: the size of every outside value, as types that the decoder enforces.

Bounds here may be widened in a later release and never narrowed: stored states are decoded through
the same types.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from src.state.errors import Refused

ID_CHARACTERS, ID_LENGTH = r"A-Za-z0-9._:@-", 128
"""What an id is made of, as in a class of a pattern, and the longest one."""
_ID = rf"[{ID_CHARACTERS}]{{1,{ID_LENGTH}}}"

# "Not followed by anything" instead of `$`, which would let a trailing newline through.
Id = Annotated[str, Meta(pattern=rf"^{_ID}(?![\s\S])")]
"""1 to 128 characters of `[A-Za-z0-9._:@-]`."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(max_length=200)]
"""As a name, but may be empty."""
NOTE_CHARS = 2_000
Note = Annotated[str, Meta(max_length=NOTE_CHARS)]
LongText = Annotated[str, Meta(max_length=32_768)]
Text = Annotated[str, Meta(min_length=1, max_length=32_768)]
"""What was said or written in one turn: 1 to 32 768 characters."""
# As `topics.is_pattern` reads it; stored configs were checked by that, so decoders need not.
_TOPIC = r"^(?:(?:\+|[^+#/\u0000]+)/)*(?:#|\+|[^+#/\u0000]+)$"
Topic = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": _TOPIC})]
"""A pattern of topics: levels parted by `/`, `+` for one of them, a last `#` for the rest."""
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""A whole number that also JavaScript can hold exactly."""
Priority = Annotated[int, Meta(ge=-1_000, le=1_000)]

# Maps whose keys are data.
BotBySubtask = dict[Id, Id]
BotsByTopic = dict[Topic, tuple[Id, ...]]
Secrets = dict[Name, Name]
Delays = dict[Name, Annotated[int, Meta(ge=0, le=86_400_000)]]
Keywords = dict[Id, tuple[Name, ...]]

TEXT_BYTES = 65_538
"""One text as JSON: a text of 32 768 characters that are written with two bytes each, quoted."""
VALUE_BYTES = 16_384
METRICS_BYTES = 4_096
TOOL_CALLS_BYTES = 32_768
SESSION_MESSAGES = 1_000
PARTICIPANTS = 200
SUBTASKS = 500
BLACKBOARD_ITEMS = 256
TOOLS = 200
TOOL_CALLS = 50
"""Both per message and waiting in one conversation."""
WINDOW_MESSAGES = 50
WINDOW_BYTES = 131_072
REST_BYTES = 131_072
"""The state without its window; together at most 256 KiB, the cap of a snapshot."""


def utc(moment: datetime | None, field: str) -> datetime | None:
    """Return the same moment in UTC, so that equal moments are equal bytes.

    Raises:
        Refused: a moment without a zone, naming `field`.
    """
    if moment is None or moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise Refused("invalid", f"{field} has no time zone; send RFC 3339 with Z", field=field)
    return moment.astimezone(UTC)


def unique(ids: Iterable[str], field: str) -> None:
    """Check that no id occurs twice.

    Raises:
        Refused: naming the second one's place; `field` has `{}` where its index belongs.
    """
    seen: set[str] = set()
    for index, name in enumerate(ids):
        if name in seen:
            place = field.format(index)
            raise Refused("exists", f"{place}: {name} is given twice", field=place)
        seen.add(name)
