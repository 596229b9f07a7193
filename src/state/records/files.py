"""Rows of files: to which conversation one belongs, what it is called, how far it has come.

    uploading -> ready -> deleted -> (no row)

The row is there before the first byte of its blob, and goes after the last one: a blob without a
row belongs to nobody, and a row that never became ready names what may be left of an upload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.errors import Refused
from src.state.protocols import Trip, open_way
from src.state.tiers.engine import answering, fetch
from src.state.tiers.tables import conversation_summaries, files

# Written into the statements: a partial index is of use only to a plan that knows the value.
_UPLOADING: ColumnElement[str] = literal_column("'uploading'")
_READY: ColumnElement[str] = literal_column("'ready'")
_DELETED: ColumnElement[str] = literal_column("'deleted'")


_QUOTA_CLASS = 1
"""PostgreSQL keeps locks of two numbers apart from those of one, such as the outbox's."""
_QUOTA_LOCK = text(f"SELECT pg_advisory_xact_lock({_QUOTA_CLASS}, hashtext(:id))")


class OverQuota(Refused):
    """The files of a conversation would be more than it may have."""

    def __init__(self, conversation_id: str, quota: int) -> None:
        super().__init__(
            "too_many_bytes",
            f"the files of conversation {conversation_id} would be more than {quota} bytes; "
            "delete some",
        )


class Recording(msgspec.Struct, frozen=True, gc=False):
    """What a file is that has the sound of a room."""

    room_id: str
    life: str
    """LiveKit's name of that life of the room (its sid)."""
    began_at: datetime
    duration_s: float
    speakers: tuple[str, ...]
    """Who is heard in it, in the order in which they begin: members of the conversation, and others
    who sound in the room."""


class File(msgspec.Struct, frozen=True, gc=False):
    """A file that can be read. Its name is what the uploader called it, and nothing else."""

    id: str
    conversation_id: str
    name: str
    type: str
    bytes: int
    sha256: str
    created_by: str
    created_at: datetime
    recording: Recording | None = None
    """None: it was uploaded."""


class Files:
    """The table. Every method raises DurableTierUnavailable when PostgreSQL does not answer."""

    def __init__(self, engine: AsyncEngine, *, way: Trip = open_way) -> None:
        self._engine = engine
        self._way = way

    async def begin(
        self,
        id: str,
        conversation_id: str,
        name: str,
        type: str,
        actor: str,
        key: str | None,
        recording: Recording | None = None,
    ) -> bool:
        """Add the row of an upload; False when `key` was used before."""
        row = insert(files).values(
            id=id,
            conversation_id=conversation_id,
            name=name,
            type=type,
            created_by=actor,
            upload_key=key,
            recording=None if recording is None else msgspec.to_builtins(recording),
        )
        unless = row.on_conflict_do_nothing(constraint="files_upload_key")
        return bool(await self._change(unless.returning(files.c.id)))

    async def finish(
        self, id: str, conversation_id: str, size: int, sha256: str, quota: int
    ) -> File | None:
        """Make an upload readable; None when it, or its conversation, was deleted meanwhile.

        Raises:
            OverQuota: the files of its conversation would have more bytes than that.
        """
        ready = (
            update(files)
            .where(files.c.id == id, files.c.state == _UPLOADING)
            .where(~_is_deleted(literal(conversation_id)))
            .values(state=_READY, bytes=size, sha256=sha256)
            .returning(files)
        )
        with answering():
            async with self._way(), self._engine.begin() as connection:
                # One at a time: of several that fit alone, only so many may as fit together.
                await connection.execute(_QUOTA_LOCK, {"id": conversation_id})
                rows = (await connection.execute(ready)).mappings().all()
                if (await connection.execute(_used_by(conversation_id))).scalar_one() > quota:
                    raise OverQuota(conversation_id, quota)
        return _file(rows[0]) if rows else None

    async def get(self, id: str) -> File | None:
        """Return a file that is ready."""
        rows = await self._fetch(select(files).where(files.c.id == id, files.c.state == _READY))
        return _file(rows[0]) if rows else None

    async def of_key(self, key: str) -> tuple[File, bool] | None:
        """Return the upload that began with this key, and whether it is ready."""
        rows = await self._fetch(select(files).where(files.c.upload_key == key))
        return (_file(rows[0]), rows[0]["state"] == "ready") if rows else None

    async def used(self, conversation_id: str) -> int:
        """Return the bytes of a conversation's files."""
        return int((await self._fetch(_used_by(conversation_id)))[0]["used"])

    async def list(self, conversation_id: str, before: str | None, limit: int) -> Sequence[File]:
        """Return files with an id below `before`, newest first."""
        query = select(files).where(
            files.c.conversation_id == conversation_id, files.c.state == _READY
        )
        if before is not None:
            query = query.where(files.c.id < before)
        rows = await self._fetch(query.order_by(files.c.id.desc()).limit(limit))
        return [_file(row) for row in rows]

    async def mark_deleted(self, id: str) -> None:
        """Let nobody read a file any more, nor finish its upload."""
        change = update(files).where(files.c.id == id).values(state=_DELETED)
        await self._change(change.returning(files.c.id))

    async def mark_deleted_of(self, conversation_id: str) -> None:
        """The same for all files of a conversation, those that are being uploaded too."""
        mine = files.c.conversation_id == conversation_id
        await self._change(update(files).where(mine).values(state=_DELETED).returning(files.c.id))

    async def mark_stray(self, older: timedelta, after: str, limit: int) -> str | None:
        """The same for uploads that began so long ago, and for files of deleted conversations.

        Looks at `limit` rows with ids > `after` and returns the last one's; None at the end.
        """
        page = select(files.c.id).where(files.c.id > after).order_by(files.c.id).limit(limit)
        ids = [row["id"] for row in await self._fetch(page)]
        gone = _is_deleted(files.c.conversation_id)
        stuck = (files.c.state == _UPLOADING) & (files.c.created_at < func.now() - older)
        await self._change(
            update(files)
            .where(files.c.id.in_(ids), files.c.state != _DELETED, or_(stuck, gone))
            .values(state=_DELETED)
            .returning(files.c.id)
        )
        return ids[-1] if ids else None

    async def deleted(self, conversation_id: str | None, after: str, limit: int) -> Sequence[str]:
        """Return ids > `after`, in order, that wait for their blob to go."""
        query = select(files.c.id).where(files.c.state == _DELETED, files.c.id > after)
        if conversation_id is not None:
            query = query.where(files.c.conversation_id == conversation_id)
        return [row["id"] for row in await self._fetch(query.order_by(files.c.id).limit(limit))]

    async def forget(self, id: str) -> None:
        """Remove a row whose blob is gone, or that will never have one."""
        await self._change(delete(files).where(files.c.id == id).returning(files.c.id))

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        """Return those of these ids that have a row."""
        rows = await self._fetch(select(files.c.id).where(files.c.id.in_(ids)))
        return frozenset(row["id"] for row in rows)

    async def _fetch(self, query: Any) -> Sequence[Any]:
        return await fetch(self._engine, query, self._way)

    async def _change(self, statement: Any) -> Sequence[Any]:
        with answering():
            async with self._way(), self._engine.begin() as connection:
                return (await connection.execute(statement)).mappings().all()


def _used_by(conversation_id: str) -> Any:
    total = select(func.coalesce(func.sum(files.c.bytes), 0).label("used"))
    return total.where(files.c.conversation_id == conversation_id, files.c.state == _READY)


def _is_deleted(conversation_id: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(
        conversation_summaries.c.conversation_id == conversation_id,
        conversation_summaries.c.status == "deleted",
    )


def _file(row: Any) -> File:
    given = {name: row[name] for name in File.__struct_fields__}
    recording = given.pop("recording")
    if recording is None:
        return File(**given)
    return File(**given, recording=msgspec.convert(recording, Recording))
