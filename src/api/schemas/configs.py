"""The bodies of the routes of every kind of config, made from the kind's own struct."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw

from src.state.configs import Record
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.decoding import Part
from src.swarm.configs.differences import Difference
from src.swarm.configs.routines import RoutineConfig
from src.swarm.configs.settings import VALUES, SettingConfig
from src.swarm.configs.subtopics import SubtopicConfig
from src.swarm.configs.teams import TeamConfig

READ_ONLY = ("version", "updated_at", "updated_by", "deleted")
"""Fields of a config's answer that a client may send back; they are ignored."""


class SettingBody(SettingConfig, frozen=True, gc=False):
    """A global setting; the type of `value` is that of its key."""

    value: Annotated[
        Raw,
        Meta(
            extra_json_schema={
                "anyOf": [{"$ref": f"#/components/schemas/{v.__name__}"} for v in VALUES.values()]
            }
        ),
    ]


class Rollback(Part, frozen=True, gc=False):
    """Which version to make the present one again."""

    version: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Diff(msgspec.Struct, frozen=True, gc=False, rename={"since": "from"}):
    """What differs between two versions of a config."""

    id: str
    since: int
    to: int
    changes: tuple[Difference, ...]


class Shape(NamedTuple):
    """The bodies of one kind, as far as they differ from those of the others."""

    kind: str
    body: type[msgspec.Struct]
    """What a client sends."""
    one: type[msgspec.Struct]
    """One version, as it is shown."""
    many: type[msgspec.Struct]
    versions: type[msgspec.Struct]
    example: dict[str, Any]
    change: dict[str, Any]
    """An example of a merge patch."""

    def show(self, record: Record[Any]) -> msgspec.Struct:
        """Return the answer for one version."""
        body = {name: getattr(record.body, name) for name in record.body.__struct_fields__}
        return self.one(
            **body,
            id=record.id,
            version=record.version,
            updated_at=record.updated_at,
            updated_by=record.updated_by,
            deleted=record.deleted,
        )

    def page(
        self, records: Sequence[Record[Any]], cursor: str | None, as_of: int
    ) -> msgspec.Struct:
        """Return the answer for a page of a list."""
        return self.many(self._shown(records), cursor, as_of)

    def history(self, records: Sequence[Record[Any]], before: int | None) -> msgspec.Struct:
        """Return the answer for a page of versions."""
        return self.versions(self._shown(records), before)

    def _shown(self, records: Sequence[Record[Any]]) -> tuple[msgspec.Struct, ...]:
        return tuple(self.show(record) for record in records)


def _shape(
    kind: str, body: type[msgspec.Struct], example: dict[str, Any], change: dict[str, Any]
) -> Shape:
    name = kind.title()
    one = msgspec.defstruct(
        name,
        [
            ("id", str),
            ("version", int),
            ("updated_at", datetime),
            ("updated_by", str),
            ("deleted", bool, False),
        ],
        bases=(body,),
        namespace={"__doc__": f"A {kind} and the version that it is."},
        frozen=True,
        gc=False,
        kw_only=True,
    )
    many = msgspec.defstruct(
        f"{name}List",
        [(f"{kind}s", tuple[one, ...]), ("next_cursor", str | None), ("as_of", int)],  # type: ignore[valid-type]  # made here
        namespace={
            "__doc__": f"{name}s in order of id. `as_of` is a position in the stream of changes: "
            "the list holds every change up to it."
        },
        frozen=True,
        gc=False,
    )
    versions = msgspec.defstruct(
        f"{name}History",
        [("versions", tuple[one, ...]), ("next_before", int | None)],  # type: ignore[valid-type]  # made here
        namespace={"__doc__": f"Versions of a {kind}, newest first."},
        frozen=True,
        gc=False,
    )
    return Shape(kind, body, one, many, versions, example, change)


_LESSON = [
    {"type": "prompt", "bot": "ada", "prompt": "Explain {topic}.", "save_as": "answer"},
    {
        "type": "branch",
        "when": {"variable": "answer", "is": "contains", "value": "?"},
        "then": [{"type": "tool", "tool": "check_understanding"}],
        "else": [{"type": "wait", "seconds": 2}],
    },
]
BOTS = _shape(
    "bot",
    BotConfig,
    {
        "id": "ada",
        "name": "Ada",
        "persona": "Dry, exact, kind.",
        "instructions": "Answer in one sentence.",
        "providers": {"llm": "offline/rules"},
    },
    {"name": "Another name"},
)
TEAMS = _shape(
    "team",
    TeamConfig,
    {
        "id": "launch",
        "name": "Launch",
        "members": [{"bot": "ada", "role": "lead"}],
        "defaults": {"limits": {"tool_calls": 20}, "responder": {"default_bot": "ada"}},
    },
    {"name": "Another name"},
)
ROUTINES = _shape(
    "routine",
    RoutineConfig,
    {
        "id": "lesson",
        "name": "Lesson",
        "steps": _LESSON,
        "inputs": {"type": "object", "properties": {"topic": {"type": "string"}}},
    },
    {"name": "Another name"},
)
SUBTOPICS = _shape(
    "subtopic",
    SubtopicConfig,
    {
        "id": "halves",
        "topic": "fractions",
        "title": "Halves",
        "content": "A half is ...",
        "order": 1,
    },
    {"title": "Halves and quarters"},
)
SETTINGS = _shape(
    "setting",
    SettingBody,
    {"id": "limits", "value": {"tool_calls": 100}},
    {"description": "For all"},
)
SHAPES = (BOTS, TEAMS, ROUTINES, SUBTOPICS, SETTINGS)
