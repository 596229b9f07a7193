"""Files of conversations: uploaded whole or not at all, read in parts, deleted with what they
belong to.

Row and blob are never changed together, so the order says what a crash may leave: a row without a
blob, which nobody reads, or a blob whose row is marked deleted. The sweep removes both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256

import msgspec
import structlog

from src.state.background import background
from src.state.buffers import Buffer
from src.state.errors import NotFound, Refused, TierUnavailable
from src.state.models import Entry, Event, Term
from src.state.protocols import Clock
from src.state.records.blobs import Blobs
from src.state.records.files import File, Files, OverQuota, Recording
from src.state.records.first_answers import KeyReused
from src.state.settings import StateSettings
from src.swarm.errors import UploadTooSlow
from src.swarm.shapes.models import ConversationState
from src.swarm.transfers import Transfers

log = structlog.get_logger(__name__)

_FOLDER = "files/"
_PAGE = 500
_WAITING = 1000
"""Deleted conversations, and cut uploads, that may wait here for their bytes to go."""


class Upload(msgspec.Struct, frozen=True, gc=False):
    """What is said of a file before its bytes come. `sha256` in hex, when the uploader knows it."""

    id: str
    conversation_id: str
    name: str
    type: str
    actor: str
    sha256: str | None = None
    key: str | None = None
    recording: Recording | None = None


class Swept(msgspec.Struct, frozen=True, gc=False):
    """What a sweep removed."""

    files: int
    """Rows of uploads that never ended and of deleted files, with their blobs."""
    blobs: int
    """Blobs that no row names."""
    staged: int
    """Half-written files in the folder."""


class FileService:
    """The files of all conversations, as one server sees them."""

    def __init__(
        self,
        table: Files,
        blobs: Blobs,
        settings: StateSettings,
        clock: Clock,
        downloads: Transfers,
    ) -> None:
        self._table = table
        self._blobs = blobs
        self._clock = clock
        self._quota = settings.file_quota_bytes
        self._upload_timeout_s = settings.upload_timeout.total_seconds()
        self._stray_after = settings.stray_after
        self._uploads = Transfers("uploads", settings.uploads)
        self._downloads = downloads
        # What falls out of these the sweep finds.
        self._gone: deque[str] = deque(maxlen=_WAITING)
        self._left: deque[str] = deque(maxlen=_WAITING)
        self._wake = asyncio.Event()

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {
            **self._uploads.buffers(),
            "files_to_remove": Buffer(len(self._gone) + len(self._left), 2 * _WAITING),
        }

    # -- uploading -------------------------------------------------------------------------------

    async def upload(self, given: Upload, parts: AsyncIterable[bytes]) -> tuple[File, bool]:
        """Store a file; True beside it when the same actor's `key` had stored the same before.

        Whatever goes wrong, what `parts` raises and a cancel too, leaves nothing behind.

        Raises:
            Refused: `too_many_bytes`, `checksum`, or the key's upload is still under way.
            KeyReused: the key came with another conversation, name, type or other bytes.
            NotFound: the conversation was deleted meanwhile.
            Overloaded: as many uploads as this server takes are under way.
            UploadTooSlow: it took longer than an upload may.
            BlobsUnavailable, DurableTierUnavailable: a store does not answer.
        """
        with self._uploads.turn():
            room = await self.left(given.conversation_id)
            key = None if given.key is None else _key_of(given.actor, given.key)
            if not await self._table.begin(
                given.id,
                given.conversation_id,
                given.name,
                given.type,
                given.actor,
                key,
                given.recording,
            ):
                return await self._earlier(key or "", given, parts), True
            try:
                async with asyncio.timeout(self._upload_timeout_s):
                    return await self._store(given, parts, room), False
            except asyncio.CancelledError:
                # Whoever gave up waits for nothing any more.
                self._left.append(given.id)
                self._wake.set()
                raise
            except TimeoutError as error:
                await self._remove(given.id)
                raise self._too_slow() from error
            except Exception:
                await self._remove(given.id)
                raise

    async def left(self, conversation_id: str) -> int:
        """Return how many bytes of files a conversation may still have.

        Raises:
            DurableTierUnavailable: PostgreSQL does not answer.
        """
        return self._quota - await self._table.used(conversation_id)

    async def _earlier(self, key: str, given: Upload, parts: AsyncIterable[bytes]) -> File:
        found = await self._table.of_key(key)
        if found is not None:
            file, ready = found
            if (file.conversation_id, file.name, file.type) != (
                given.conversation_id,
                given.name,
                given.type,
            ):
                raise KeyReused
            if ready:
                await self._check_bytes(file, given, parts)
                return file
        detail = "an upload with this Idempotency-Key has begun and not ended; try again later"
        raise Refused("upload_under_way", detail, field="Idempotency-Key")

    async def _check_bytes(self, file: File, given: Upload, parts: AsyncIterable[bytes]) -> None:
        """See that the bytes that were announced, or that come, are a file's own.

        Raises:
            KeyReused: they are others.
            UploadTooSlow: they took too long to come.
        """
        announced = given.sha256
        if announced is None:
            size, digest = 0, sha256()
            try:
                async with asyncio.timeout(self._upload_timeout_s):
                    async for part in parts:
                        size += len(part)
                        if size > file.bytes:
                            raise KeyReused
                        digest.update(part)
            except TimeoutError as error:
                raise self._too_slow() from error
            announced = digest.hexdigest()
        if announced != file.sha256:
            raise KeyReused

    def _too_slow(self) -> UploadTooSlow:
        seconds = f"{self._upload_timeout_s:.0f} s (SWARMSTATE_UPLOAD_TIMEOUT)"
        return UploadTooSlow(f"the upload took longer than {seconds}")

    async def _store(self, given: Upload, parts: AsyncIterable[bytes], room: int) -> File:
        size, digest = 0, sha256()

        async def measured() -> AsyncIterator[bytes]:
            nonlocal size
            async for part in parts:
                size += len(part)
                if size > room:
                    raise OverQuota(given.conversation_id, self._quota)
                digest.update(part)
                yield part
            # Before the last part is stored: a blob that is whole is the one that was sent.
            if given.sha256 not in (None, digest.hexdigest()):
                detail = f"the bytes that came have the SHA-256 {digest.hexdigest()}; send again"
                raise Refused("checksum", detail, field="Content-Digest")

        await self._blobs.put(_FOLDER + given.id, measured())
        file = await self._table.finish(
            given.id, given.conversation_id, size, digest.hexdigest(), self._quota
        )
        if file is None:
            raise NotFound("conversation", given.conversation_id)
        return file

    # -- reading ---------------------------------------------------------------------------------

    async def get(self, id: str) -> File:
        """Return what is known of a file.

        Raises:
            NotFound: never uploaded, not wholly, or deleted.
            DurableTierUnavailable: PostgreSQL does not answer.
        """
        file = await self._table.get(id)
        if file is None:
            raise NotFound("file", id)
        return file

    async def read(self, file: File, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes from `start` to before `end`; each part is read when it is asked for.

        Raises:
            Overloaded: as many downloads as this server serves are under way.
            BlobsUnavailable: the store does not answer, or does not have them.
        """
        with self._downloads.turn():
            async for part in self._blobs.read(_FOLDER + file.id, start, end):
                yield part

    async def list(
        self, conversation_id: str, before: str | None, limit: int
    ) -> tuple[Sequence[File], str | None]:
        """Return a conversation's files, newest first, and where the next page begins."""
        page = await self._table.list(conversation_id, before, limit)
        return page, page[-1].id if len(page) == limit else None

    # -- deleting --------------------------------------------------------------------------------

    async def delete(self, id: str) -> None:
        """Delete a file: nobody can read it from now on, and its bytes go at once or soon.

        Raises:
            DurableTierUnavailable: PostgreSQL does not answer; it may be deleted.
        """
        await self._table.mark_deleted(id)
        await self._remove(id)

    async def delete_of(self, conversation_id: str) -> None:
        """The same for all files of a conversation; raises what `delete` raises."""
        await self._table.mark_deleted_of(conversation_id)
        await self._remove_marked(conversation_id)

    def logged(self, entry: Entry[ConversationState], _: Sequence[Event]) -> None:
        """Take note, on the owner, of a conversation whose deletion has just been logged."""
        if entry.state.status == "deleted":
            self._gone.append(entry.id)
            self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Remove in the background what belongs to nobody any more, for the length of the block."""
        async with background(self._remove_for_ever()):
            yield

    async def _remove_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._left:
                await self._remove(self._left.popleft())
            while self._gone:
                conversation_id = self._gone.popleft()
                try:
                    await self.delete_of(conversation_id)
                except TierUnavailable as error:
                    log.warning("files.left", conversation=conversation_id, error=str(error))

    async def _remove(self, id: str) -> bool:
        """Remove a file, however far it had come; what fails is left to the sweep."""
        try:
            await self._table.mark_deleted(id)
            await self._blobs.delete(_FOLDER + id)
            await self._table.forget(id)
        except TierUnavailable as error:
            log.warning("files.left", file=id, error=str(error))
            return False
        return True

    async def _remove_marked(self, conversation_id: str | None) -> int:
        after, removed = "", 0
        while ids := await self._table.deleted(conversation_id, after, _PAGE):
            for id in ids:
                removed += await self._remove(id)
            after = ids[-1]
        return removed

    async def sweep(self) -> Swept:
        """Remove what crashes and outages left: strays among the rows, the blobs and the parts.

        Raises:
            BlobsUnavailable, DurableTierUnavailable: a store does not answer; the rest waits.
        """
        after: str | None = ""
        while after is not None:
            after = await self._table.mark_stray(self._stray_after, after, _PAGE)
        files = await self._remove_marked(None)
        # The store's clock and ours are compared here: against a day they may well differ.
        before = self._clock.now() - self._stray_after
        blobs = await self._remove_orphans(before)
        staged = await self._blobs.clear_staged(before)
        if files or blobs or staged:
            log.info("files.swept", files=files, blobs=blobs, staged=staged)
        return Swept(files, blobs, staged)

    async def sweep_as_duty(self, _: Term) -> None:
        """Sweep on behalf of all servers. Two at once do no harm: every step can be repeated."""
        await self.sweep()

    async def _remove_orphans(self, before: datetime) -> int:
        removed = 0
        async for page in self._blobs.list(_FOLDER):
            old = [blob.key for blob in page if blob.stored_at < before]
            known = await self._table.known([key.removeprefix(_FOLDER) for key in old])
            for key in old:
                if key.removeprefix(_FOLDER) not in known:
                    await self._blobs.delete(key)
                    removed += 1
        return removed


def _key_of(actor: str, key: str) -> str:
    return sha256(f"{actor} {key}".encode()).hexdigest()
