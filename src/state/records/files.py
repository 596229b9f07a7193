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
from sqlalchemy import ColumnElement, delete, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.configs import answering, fetch
from src.state.protocols import Trip, open_way
from src.state.tiers.tables import conversation_summaries, files

# Written into the statements: a partial index is of use only to a plan that knows the value.
_UPLOADING: ColumnElement[str] = literal_column("'uploading'")
_READY: ColumnElement[str] = literal_column("'ready'")
_DELETED: ColumnElement[str] = literal_column("'deleted'")


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


class Files:
    """The table. Every method raises DurableTierUnavailable when PostgreSQL does not answer."""

    def __init__(self, engine: AsyncEngine, *, way: Trip = open_way) -> None:
        self._engine = engine
        self._way = way

    async def begin(
        self, id: str, conversation_id: str, name: str, type: str, actor: str, key: str | None
    ) -> bool:
        """Add the row of an upload; False when `key` was used before."""
        row = insert(files).values(
            id=id,
            conversation_id=conversation_id,
            name=name,
            type=type,
            created_by=actor,
            upload_key=key,
        )
        unless = row.on_conflict_do_nothing(constraint="files_upload_key")
        return bool(await self._change(unless.returning(files.c.id)))

    async def finish(self, id: str, size: int, sha256: str) -> File | None:
        """Make an upload readable; None when its row was deleted meanwhile."""
        rows = await self._change(
            update(files)
            .where(files.c.id == id, files.c.state == _UPLOADING)
            .values(state=_READY, bytes=size, sha256=sha256)
            .returning(files)
        )
        return _file(rows[0]) if rows else None

    async def get(self, id: str) -> File | None:
        """Return a file that is ready."""
        rows = await self._fetch(select(files).where(files.c.id == id, files.c.state == _READY))
        return _file(rows[0]) if rows else None

    async def uploaded(self, key: str) -> File | None:
        """Return the file that an upload with this key made; None while it is under way."""
        query = select(files).where(files.c.upload_key == key, files.c.state == _READY)
        rows = await self._fetch(query)
        return _file(rows[0]) if rows else None

    async def used(self, conversation_id: str) -> int:
        """Return the bytes of a conversation's files."""
        total = select(func.coalesce(func.sum(files.c.bytes), 0).label("used"))
        mine = (files.c.conversation_id == conversation_id) & (files.c.state == _READY)
        return int((await self._fetch(total.where(mine)))[0]["used"])

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
        gone = exists().where(
            conversation_summaries.c.conversation_id == files.c.conversation_id,
            conversation_summaries.c.status == "deleted",
        )
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


def _file(row: Any) -> File:
    return File(**{name: row[name] for name in File.__struct_fields__})
