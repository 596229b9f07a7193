"""Configs: small records without an owner, written through and announced.

One transaction holds version check, row, history and outbox row (`records/edits.py`), so a config
that is committed is always announced (I12). Reads go through L1, L2 and L3 like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from src.state.errors import NotFound, Refused, StateError, Undecodable, VersionConflict
from src.state.models import Entry, Version
from src.state.protocols import Clock, Trip, open_way
from src.state.records.edits import Edit, Edits
from src.state.tiers.engine import answering, fetch
from src.state.tiers.tables import config_history, configs, outbox

B = TypeVar("B", bound=msgspec.Struct)

_OUTBOX_END = select(func.coalesce(func.max(outbox.c.position), 0))


class ConfigExists(StateError):
    """A config with this id is there already (or was, and ids are not used twice)."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"there is a {kind} {id!r} already; choose another id or change that one")


class Record(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """One version of a config."""

    kind: str
    id: str
    version: int
    body: B
    deleted: bool
    updated_by: str
    updated_at: datetime


class ConfigKind(Generic[B]):
    """A kind of config as the tiers see it (`Stored[Record[B]]`).

    `accept(id, data)` reads a body from outside; it raises `Refused` for what is not allowed.
    `group` says by what a list of this kind can be narrowed. `needs` gives the (place, id) of what
    has to be there, of the same kind, when a body is written. `upgrade` turns a body that an
    earlier release has stored into what it means in this one.
    """

    def __init__(
        self,
        name: str,
        body_type: type[B],
        accept: Callable[[str, bytes], B],
        schema: int,
        *,
        group: Callable[[B], str | None] = lambda _: None,
        needs: Callable[[B], Iterable[tuple[str, str]]] = lambda _: (),
        upgrade: Callable[[B], B] = lambda body: body,
    ) -> None:
        self.name, self.accept, self.schema = name, accept, schema
        self.group, self.needs, self._upgrade = group, needs, upgrade
        self._encoder = msgspec.json.Encoder()
        self._records = msgspec.json.Decoder(Record[body_type])  # type: ignore[valid-type]  # a runtime type
        self._bodies: msgspec.json.Decoder[B] = msgspec.json.Decoder(body_type)

    @property
    def encode_state(self) -> Callable[[Record[B]], bytes]:
        return self._encoder.encode

    @property
    def decode_state(self) -> Callable[[bytes], Record[B]]:
        return self._decode_record

    def _decode_record(self, data: bytes) -> Record[B]:
        record: Record[B] = self._records.decode(data)
        body = self._upgrade(record.body)
        return record if body is record.body else replace(record, body=body)

    def encode_body(self, body: B) -> bytes:
        return self._encoder.encode(body)

    def decode_body(self, data: bytes, schema: int) -> B:
        """Return what was stored under this schema.

        Raises:
            Undecodable: by a newer release, or broken.
        """
        if schema > self.schema:
            detail = f"it has schema {schema}, this release reads up to {self.schema}; upgrade it"
            raise Undecodable(f"a {self.name}'s config", detail)
        try:
            return self._upgrade(self._bodies.decode(data))
        except msgspec.MsgspecError as error:
            raise Undecodable(f"a {self.name}'s config", str(error)) from error


class ConfigSource(Generic[B]):
    """`Source` of one kind of config: its row."""

    def __init__(self, kind: ConfigKind[B], engine: AsyncEngine, *, way: Trip = open_way) -> None:
        self._kind = kind
        self._engine = engine
        self._way = way
        self.loads = 0

    async def load(self, id: str, base: Entry[Record[B]] | None) -> Entry[Record[B]] | None:
        self.loads += 1
        query = select(configs).where(configs.c.kind == self._kind.name, configs.c.id == id)
        rows = await fetch(self._engine, query, self._way)
        if not rows:
            return None
        record = _record(self._kind, rows[0])
        return Entry(id, Version(0, record.version), record)


class Configs(Generic[B]):
    """Writes and lists configs of one kind."""

    def __init__(
        self,
        kind: ConfigKind[B],
        engine: AsyncEngine,
        edits: Edits,
        clock: Clock,
        *,
        way: Trip = open_way,
    ) -> None:
        self._kind = kind
        self._engine = engine
        self._way = way
        self._edits = edits
        self._clock = clock

    async def write(
        self, id: str, actor: str, change: Callable[[Record[B] | None], tuple[B, bool]]
    ) -> Record[B]:
        """Commit the next version; `change` gets the present record and gives (body, deleted).

        `change` is pure and may raise; then nothing is written. It runs with the row locked, so
        two writers cannot both build on one version.

        Raises:
            Overloaded: too many edits wait; nothing was written.
            DurableTierUnavailable: PostgreSQL did not answer; the version may be committed.
        """
        async with self._edits.transaction() as edit:
            return await self._commit(edit, id, actor, change)

    async def _commit(
        self,
        edit: Edit,
        id: str,
        actor: str,
        change: Callable[[Record[B] | None], tuple[B, bool]],
    ) -> Record[B]:
        kind, connection = self._kind, edit.connection
        mine = (configs.c.kind == kind.name) & (configs.c.id == id)
        row = (await connection.execute(select(configs).where(mine))).mappings().one_or_none()
        present = None if row is None else _record(kind, row)
        body, deleted = change(present)
        if not deleted:
            await self._check_needs(connection, body)
        version = 1 if present is None else present.version + 1
        now = self._clock.now()
        values = {
            "version": version,
            "schema": kind.schema,
            "body": kind.encode_body(body),
            "deleted": deleted,
        }
        row_values = values | {"updated_by": actor, "updated_at": now, "grouping": kind.group(body)}
        if present is None:
            await connection.execute(insert(configs).values(kind=kind.name, id=id, **row_values))
        else:
            await connection.execute(update(configs).where(mine).values(**row_values))
        await connection.execute(
            insert(config_history).values(kind=kind.name, id=id, actor=actor, at=now, **values)
        )
        await edit.announce(kind.name, id, version)
        return Record(kind.name, id, version, body, deleted, actor, now)

    async def _check_needs(self, connection: AsyncConnection, body: B) -> None:
        """Refuse a body that names what is not there. No other config can be written meanwhile."""
        wanted = list(self._kind.needs(body))
        if not wanted:
            return
        query = select(configs.c.id).where(
            configs.c.kind == self._kind.name,
            configs.c.id.in_({id for _, id in wanted}),
            ~configs.c.deleted,
        )
        found = set((await connection.execute(query)).scalars())
        for place, id in wanted:
            if id not in found:
                detail = f"{place}: there is no {self._kind.name} {id!r}; create it first"
                raise Refused("unknown_reference", detail, field=place)

    async def list(
        self, after: str, limit: int, group: str | None = None
    ) -> tuple[Sequence[Record[B]], int]:
        """Return living configs with id > `after`, in order of id, and as of when.

        That is a position in the outbox: the list holds every change up to it.
        """
        query = (
            select(configs)
            .where(configs.c.kind == self._kind.name, configs.c.id > after, ~configs.c.deleted)
            .order_by(configs.c.id)
            .limit(limit)
        )
        if group is not None:
            query = query.where(configs.c.grouping == group)
        with answering():
            async with self._way(), self._engine.connect() as connection:
                # Before the rows: what commits in between is in them, and comes once more.
                as_of = (await connection.execute(_OUTBOX_END)).scalar_one()
                rows = (await connection.execute(query)).mappings().all()
        return [_record(self._kind, row) for row in rows], as_of

    async def at(self, id: str, version: int) -> Record[B] | None:
        """Return one version; None if there is none of this number."""
        history = config_history.c
        query = select(config_history).where(
            history.kind == self._kind.name, history.id == id, history.version == version
        )
        rows = await fetch(self._engine, query, self._way)
        return _record(self._kind, rows[0]) if rows else None

    async def history(self, id: str, before: int, limit: int) -> Sequence[Record[B]]:
        """Return versions below `before`, newest first."""
        history = config_history.c
        query = (
            select(config_history)
            .where(history.kind == self._kind.name, history.id == id, history.version < before)
            .order_by(history.version.desc())
            .limit(limit)
        )
        return [_record(self._kind, row) for row in await fetch(self._engine, query, self._way)]


def check_version(record: Record[Any], expected: int | None) -> None:
    """Refuse a change that was decided on another version.

    Raises:
        VersionConflict: `expected` is given and is not the record's version.
    """
    if expected is not None and expected != record.version:
        raise VersionConflict(record.id, expected, record.version)


def living(kind: str, id: str, record: Record[B] | None) -> Record[B]:
    """Return the record, or say that there is none.

    Raises:
        NotFound: never made, or deleted.
    """
    if record is None or record.deleted:
        raise NotFound(kind, id)
    return record


def _record(kind: ConfigKind[B], row: Any) -> Record[B]:
    return Record(
        kind.name,
        row["id"],
        row["version"],
        kind.decode_body(row["body"], row["schema"]),
        row["deleted"],
        row["updated_by"] if "updated_by" in row else row["actor"],
        row["updated_at"] if "updated_at" in row else row["at"],
    )
