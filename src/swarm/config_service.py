"""Configs of bots and teams: one code path for every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from src.state.configs import (
    ConfigExists,
    ConfigKind,
    Configs,
    Record,
    check_version,
    living,
)
from src.state.errors import Refused
from src.state.models import Read, Version
from src.state.reads.store import Store
from src.swarm.configs.bots import BotConfig, decode_bot
from src.swarm.configs.decoding import SCHEMA
from src.swarm.configs.teams import TeamConfig, decode_team

BOTS: ConfigKind[BotConfig] = ConfigKind("bot", BotConfig, decode_bot, SCHEMA)
TEAMS: ConfigKind[TeamConfig] = ConfigKind("team", TeamConfig, decode_team, SCHEMA)
KINDS: Mapping[str, ConfigKind[Any]] = {"bot": BOTS, "team": TEAMS}

_HISTORY_TOP = 1 << 62


class ConfigService:
    """Reads through the tiers, writes through to PostgreSQL.

    `kind` is "bot" or "team"; `data` is the JSON of a config, from outside. What is wrong with it
    is refused with the field named (`Refused`), and nothing is written.
    """

    def __init__(
        self, repositories: Mapping[str, Configs[Any]], stores: Mapping[str, Store[Record[Any]]]
    ) -> None:
        self._repositories = repositories
        self._stores = stores

    async def read(self, kind: str, id: str) -> Read[Record[Any]] | None:
        """Return the record, deleted ones included, with tier and freshness; None: never made."""
        return await self._stores[kind].get(id)

    async def get(self, kind: str, id: str) -> Record[Any]:
        """Return the living record.

        Raises:
            NotFound: never made, or deleted.
        """
        read = await self.read(kind, id)
        return living(kind, id, None if read is None else read.entry.state)

    async def create(self, kind: str, id: str, data: bytes, actor: str) -> Record[Any]:
        """Make version 1.

        Raises:
            ConfigExists: the id is taken, by a deleted one too.
        """
        body = KINDS[kind].accept(data)

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
        body = KINDS[kind].accept(data)

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
            return config.accept(msgspec.json.encode(_merged(plain, merge_patch))), False

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

    async def list(
        self, kind: str, cursor: str | None, limit: int
    ) -> tuple[Sequence[Record[Any]], str | None]:
        """Return living configs in order of id, and the cursor of the next page."""
        records = await self._repositories[kind].list(cursor or "", limit)
        return records, records[-1].id if len(records) == limit else None

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


def check_kinds(kinds: Iterable[str], field: str) -> None:
    """Check that these are kinds of configs.

    Raises:
        Refused: one is not; `field` is named.
    """
    for kind in kinds:
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise Refused("invalid", f"there is no kind {kind!r}; name {known}", field=field)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
