"""Files of conversations: streamed there and back, whole and checked, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote

import aiohttp

from swarmstate_client.asks import Answer, Ask, at, query, write
from swarmstate_client.decoding import parse, read
from swarmstate_client.errors import ChecksumMismatch, NotUnderstood, SwarmstateError
from swarmstate_client.pages import pages
from swarmstate_client.transport import Transport, Tries

_PART_BYTES = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a file is that has the sound of a room."""

    room_id: str
    life: str
    """LiveKit's name of that life of the room."""
    began_at: datetime
    duration_s: float
    speakers: tuple[str, ...]
    """Who is heard in it, in the order in which they begin: members of the conversation, and others
    who sound in the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A file of a conversation; its bytes have this SHA-256 (hex)."""

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
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """What a download says of itself ahead of its bytes."""

    id: str
    name: str
    type: str
    bytes: int
    sha256: str


class Files:
    """What `Client.files` does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def upload(
        self,
        conversation_id: str,
        source: Path | bytes | AsyncIterator[bytes],
        *,
        name: str | None = None,
        type: str = "application/octet-stream",
        key: str | None = None,
    ) -> FileInfo:
        """Store a file, sent part by part. Its name is only a label; a path's is its last part.

        A path, or bytes, are sent again when a connection breaks; an iterator can be read only
        once, so what it gives is sent once.

        Raises:
            ChecksumMismatch: what was stored is not what was sent; it was deleted again.
            OSError: the path cannot be read.
        """
        upload = await _Upload.of(source)
        label = name or (source.name if isinstance(source, Path) else None)
        ask = Ask(
            method="POST",
            path=at("/files"),
            query=query(conversation_id=conversation_id),
            parts=upload.parts,
            headers=write(key=key) | upload.announced | _named(label) | {"Content-Type": type},
        )
        stored = read(FileInfo, (await self._sent(ask, upload)).body)
        if stored.sha256 != upload.sent_sha256 and not stored.repeated:
            await self.delete(stored.id)
            raise ChecksumMismatch(f"{stored.id} was stored as {stored.sha256}; upload it again")
        return stored

    async def look(self, id: str) -> FileHead:
        """Return size, type, name and checksum."""
        answer = await self._transport.send(Ask(method="HEAD", path=at("/files/{}", id)))
        return _head(id, answer)

    async def download(self, id: str, path: Path) -> FileHead:
        """Write the file to a path, which is replaced once all of it is there and checked.

        Raises:
            ChecksumMismatch: as for `parts`. OSError: the path cannot be written.
        """
        head = await self.look(id)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        opened = await asyncio.to_thread(beside.open, "xb")
        try:
            try:
                async for part in self.parts(id):
                    await asyncio.to_thread(opened.write, part)
            finally:
                await asyncio.to_thread(opened.close)
            await asyncio.to_thread(os.replace, beside, path)
        finally:
            beside.unlink(missing_ok=True)
        return head

    async def parts(self, id: str) -> AsyncGenerator[bytes, None]:
        """Give the bytes in order; goes on where a connection broke, on any server.

        Raises:
            ChecksumMismatch: at the end, the bytes are not those that were stored.
        """
        ask = Ask(method="GET", path=at("/files/{}", id))
        tries, digest = Tries(self._transport, ask), hashlib.sha256()
        done, etag = 0, ""
        while True:
            more = {"Range": f"bytes={done}-", "If-Range": etag} if done else {}
            headers = {"Accept-Encoding": "identity", **more}
            try:
                async with self._transport.answer(
                    replace(ask, headers=headers), self._transport.streaming
                ) as response:
                    if done and response.status != 206:
                        raise ChecksumMismatch(f"{id} is another file than it was; read it anew")
                    etag = response.headers.get("ETag", "")
                    async for part in response.content.iter_chunked(_PART_BYTES):
                        tries.went_on()
                        done += len(part)
                        digest.update(part)
                        yield part
            except SwarmstateError as error:
                await tries.failed(error)
            else:
                break
        if etag.strip('"') != digest.hexdigest():
            raise ChecksumMismatch(f"{id} came with other bytes than were stored; read it anew")

    def list(self, conversation_id: str, *, page: int = 50) -> AsyncIterator[FileInfo]:
        """Give the files of a conversation, newest first."""
        path = at("/conversations/{}/files", conversation_id)
        ask = Ask(method="GET", path=path, query=query(limit=page))
        return pages(self._transport, ask, "files", FileInfo)

    async def delete(self, id: str) -> None:
        """Delete a file for good."""
        await self._transport.send(Ask(method="DELETE", path=at("/files/{}", id)))

    async def _sent(self, ask: Ask, upload: _Upload) -> Answer:
        tries, patience = Tries(self._transport, ask), self._transport.patience
        bounds = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s)
        while True:
            try:
                silence = upload.begun(patience.silence_s)
                async with self._transport.answer(ask, bounds, silence) as response:
                    body = parse(await response.read(), f"the answer to {ask}")
                    return Answer(response.headers, body)
            except SwarmstateError as error:
                if upload.is_spent:
                    raise
                await tries.failed(error)


class _Upload:
    """The bytes of an upload, read anew for each try, and their checksum."""

    def __init__(
        self, source: Path | bytes | AsyncIterator[bytes], sha256: str | None = None
    ) -> None:
        self._source = source
        self.sha256 = sha256
        """Known ahead of the first byte, but for an iterator."""
        self._digest = hashlib.sha256()
        self._silence: asyncio.Timeout | None = None
        self._longest_s = 0.0
        self.is_spent = False
        """An iterator was read from, and cannot be read again."""

    @classmethod
    async def of(cls, source: Path | bytes | AsyncIterator[bytes]) -> _Upload:
        if isinstance(source, Path):
            return cls(source, await asyncio.to_thread(_sha256_of, source))
        return cls(
            source, hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else None
        )

    @property
    def announced(self) -> dict[str, str]:
        """The server keeps nothing with another checksum."""
        return {} if self.sha256 is None else {"X-Checksum-SHA256": self.sha256}

    @property
    def sent_sha256(self) -> str:
        return self.sha256 or self._digest.hexdigest()

    def begun(self, longest_s: float) -> asyncio.Timeout:
        """Return the bound of a try: it ends when no part was taken for so long."""
        self._silence, self._longest_s = asyncio.timeout(longest_s), longest_s
        return self._silence

    async def parts(self) -> AsyncIterator[bytes]:
        source = self._source
        if isinstance(source, Path):
            opened = await asyncio.to_thread(source.open, "rb")
            try:
                while part := await asyncio.to_thread(opened.read, _PART_BYTES):
                    self._put_off()
                    yield part
            finally:
                opened.close()
        elif isinstance(source, bytes):
            for start in range(0, len(source), _PART_BYTES):
                self._put_off()
                yield source[start : start + _PART_BYTES]
        else:
            self.is_spent = True
            async for part in source:
                self._put_off()
                self._digest.update(part)
                yield part

    def _put_off(self) -> None:
        if self._silence is not None and not self._silence.expired():
            self._silence.reschedule(asyncio.get_running_loop().time() + self._longest_s)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"X-File-Name": quote(name, safe="")}


def _head(id: str, answer: Answer) -> FileHead:
    headers = answer.headers
    try:
        length, sha256 = int(headers["Content-Length"]), headers["ETag"].strip('"')
    except (KeyError, ValueError) as error:
        raise NotUnderstood(f"{id} has no Content-Length or ETag; is this swarmstate?") from error
    _, _, name = headers.get("Content-Disposition", "").partition("filename*=UTF-8''")
    return FileHead(
        id=id,
        name=unquote(name.partition(";")[0]),
        type=headers.get("Content-Type", ""),
        bytes=length,
        sha256=sha256,
    )
