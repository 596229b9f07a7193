"""Configs of every kind, on one code path: bots, teams, routines, subtopics, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from src.state.configs import (
    ConfigExists,
    ConfigKind,
    Configs,
    Record,
    check_version,
    living,
)
from src.state.errors import NotFound
from src.state.models import Read, Version
from src.state.reads.store import Store
from src.swarm.configs.bots import BotConfig, decode_bot
from src.swarm.configs.decoding import SCHEMA
from src.swarm.configs.differences import Difference, differences
from src.swarm.configs.routines import RoutineConfig, decode_routine, sub_routines
from src.swarm.configs.settings import SettingConfig, decode_setting
from src.swarm.configs.subtopics import SubtopicConfig, decode_subtopic
from src.swarm.configs.teams import TEAM_SCHEMA, TeamConfig, decode_team, upgraded
from src.swarm.shapes import free_json

BOTS: ConfigKind[BotConfig] = ConfigKind("bot", BotConfig, lambda _, data: decode_bot(data), SCHEMA)
TEAMS: ConfigKind[TeamConfig] = ConfigKind(
    "team", TeamConfig, lambda _, data: decode_team(data), TEAM_SCHEMA, upgrade=upgraded
)
ROUTINES: ConfigKind[RoutineConfig] = ConfigKind(
    "routine", RoutineConfig, decode_routine, SCHEMA, needs=sub_routines
)
SUBTOPICS: ConfigKind[SubtopicConfig] = ConfigKind(
    "subtopic",
    SubtopicConfig,
    lambda _, data: decode_subtopic(data),
    SCHEMA,
    group=lambda subtopic: subtopic.topic,
)
SETTINGS: ConfigKind[SettingConfig] = ConfigKind("setting", SettingConfig, decode_setting, SCHEMA)
KINDS: Mapping[str, ConfigKind[Any]] = {
    kind.name: kind for kind in (BOTS, TEAMS, ROUTINES, SUBTOPICS, SETTINGS)
}
KindName = Literal["bot", "team", "routine", "subtopic", "setting"]
"""The keys of `KINDS`, for those who are asked to name one."""

_HISTORY_TOP = 1 << 62


class Page(msgspec.Struct, frozen=True, gc=False):
    """A page of a list; it holds every change up to the outbox position `as_of`."""

    records: Sequence[Record[Any]]
    following: str | None
    """The cursor of the next page."""
    as_of: int


class ConfigService:
    """Reads through the tiers, writes through to PostgreSQL.

    `kind` is a key of `KINDS`; `data` is the JSON of a config, from outside. What is wrong with it
    is refused with the field named (`Refused`), and nothing is written.
    """

    def __init__(
        self, repositories: Mapping[str, Configs[Any]], stores: Mapping[str, Store[Record[Any]]]
    ) -> None:
        self._repositories = repositories
        self._stores = stores

    async def read(
        self, kind: str, id: str, *, at_least: Version | None = None
    ) -> Read[Record[Any]] | None:
        """Return the record, deleted ones included, with tier and freshness; None: never made.

        Raises:
            Behind: `at_least` is ahead of what is written.
        """
        return await self._stores[kind].get(id, at_least=at_least)

    async def find(
        self, kind: str, id: str, *, at_least: Version | None = None
    ) -> Read[Record[Any]]:
        """Return the living record with tier and freshness, not older than `at_least`.

        Raises:
            NotFound: never made, or deleted. Behind: `at_least` is ahead of what is written.
        """
        read = await self.read(kind, id, at_least=at_least)
        if read is None:
            raise NotFound(kind, id)
        living(kind, id, read.entry.state)
        return read

    async def get(self, kind: str, id: str) -> Record[Any]:
        """Return the living record.

        Raises:
            NotFound: never made, or deleted.
        """
        return (await self.find(kind, id)).entry.state

    async def create(self, kind: str, id: str, data: bytes, actor: str) -> Record[Any]:
        """Make version 1.

        Raises:
            ConfigExists: the id is taken, by a deleted one too.
        """
        body = KINDS[kind].accept(id, data)

        def first(present: Record[Any] | None) -> tuple[Any, bool]:
            if present is not None:
                raise ConfigExists(kind, id)
            return body, False

        return await self._write(kind, id, actor, first)

    async def replace(
        self, kind: str, id: str, data: bytes, actor: str, if_version: int | None = None
    ) -> Record[Any]:
        """Put a new body in place.

        Raises:
            NotFound: there is none. VersionConflict: `if_version` is not the present version.
        """
        body = KINDS[kind].accept(id, data)

        def next_version(present: Record[Any] | None) -> tuple[Any, bool]:
            check_version(living(kind, id, present), if_version)
            return body, False

        return await self._write(kind, id, actor, next_version)

    async def patch(
        self,
        kind: str,
        id: str,
        merge_patch: Mapping[str, Any],
        actor: str,
        if_version: int | None = None,
    ) -> Record[Any]:
        """Apply a JSON merge patch (RFC 7396) to the body."""
        config = KINDS[kind]

        def patched(present: Record[Any] | None) -> tuple[Any, bool]:
            record = living(kind, id, present)
            check_version(record, if_version)
            plain = msgspec.json.decode(config.encode_body(record.body))
            merged = free_json.merge_patch(plain, merge_patch)
            return config.accept(id, msgspec.json.encode(merged)), False

        return await self._write(kind, id, actor, patched)

    async def delete(
        self, kind: str, id: str, actor: str, if_version: int | None = None
    ) -> Record[Any]:
        """Mark it deleted; its history stays."""

        def deleted(present: Record[Any] | None) -> tuple[Any, bool]:
            record = living(kind, id, present)
            check_version(record, if_version)
            return record.body, True

        return await self._write(kind, id, actor, deleted)

    async def rollback(
        self, kind: str, id: str, version: int, actor: str, if_version: int | None = None
    ) -> Record[Any]:
        """Make a new version of what `version` said; a deleted config lives again.

        Raises:
            NotFound: no such config, or no such version of it.
        """
        old = await self._version(kind, id, version)

        def restored(present: Record[Any] | None) -> tuple[Any, bool]:
            if present is None:
                raise NotFound(kind, id)
            check_version(present, if_version)
            return old.body, False

        return await self._write(kind, id, actor, restored)

    async def diff(
        self, kind: str, id: str, before: int, after: int | None
    ) -> tuple[Record[Any], Record[Any], tuple[Difference, ...]]:
        """Return two versions and what differs; without `after` the second is the present one.

        Raises:
            NotFound: no such config, or no such version of it.
        """
        old = await self._version(kind, id, before)
        if after is None:
            (new,) = await self._repositories[kind].history(id, _HISTORY_TOP, 1)
        else:
            new = await self._version(kind, id, after)
        plain = [msgspec.json.decode(KINDS[kind].encode_body(one.body)) for one in (old, new)]
        return old, new, tuple(differences(*plain))

    async def _version(self, kind: str, id: str, version: int) -> Record[Any]:
        record = await self._repositories[kind].at(id, version)
        if record is None:
            raise NotFound(f"version {version} of {kind}", id)
        return record

    async def list(
        self, kind: str, cursor: str | None, limit: int, *, group: str | None = None
    ) -> Page:
        """Return living configs in order of id; `group`: subtopics of this topic alone."""
        records, as_of = await self._repositories[kind].list(cursor or "", limit, group)
        return Page(records, records[-1].id if len(records) == limit else None, as_of)

    async def history(
        self, kind: str, id: str, before: int | None, limit: int
    ) -> Sequence[Record[Any]]:
        """Return versions below `before`, newest first.

        Raises:
            NotFound: there never was one.
        """
        records = await self._repositories[kind].history(id, before or _HISTORY_TOP, limit)
        if not records and before is None:
            living(kind, id, None)
        return records

    async def _write(
        self,
        kind: str,
        id: str,
        actor: str,
        change: Callable[[Record[Any] | None], tuple[Any, bool]],
    ) -> Record[Any]:
        record = await self._repositories[kind].write(id, actor, change)
        self._stores[kind].written(id, Version(0, record.version))
        return record
