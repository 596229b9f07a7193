"""Where the bytes of files are: a folder, S3 or Azure, named by a URL.

A blob is written whole or not at all, under a key that we choose, and never changed. Credentials
and endpoints come from the environment variables that the clouds' own tools read (AWS_*, AZURE_*).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec
import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import MemoryStore, ObjectStore, from_url

from src.state.errors import BlobsUnavailable, StateError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

PART_BYTES = 8 << 20
"""How much of an upload is sent and held in one piece; S3 wants 5 MiB at least."""
READ_BYTES = 1 << 20
"""How much of a download is read and held at once."""
PARTS_AT_ONCE = 2
"""Parts of one upload under way to the store, beside the one that fills."""

_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_SCHEMES = ("file", "s3", "az", "memory")
_STAGED = re.compile(r".+#\d+$")
"""A local file that is being written; the library gives it its name when it is whole."""


class BadBlobsUrl(StateError):
    """SWARMSTATE_BLOBS_URL names no place for blobs."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"SWARMSTATE_BLOBS_URL {url!r}: {why}; write file:///folder, s3://bucket/prefix or "
            "az://container/prefix, with credentials in AWS_* or AZURE_*"
        )


class Blob(msgspec.Struct, frozen=True, gc=False):
    """A blob in a list; `stored_at` by the store's own clock."""

    key: str
    size: int
    stored_at: datetime


class Blobs:
    """Blobs by key. Every method raises BlobsUnavailable when the store does not do its part."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, key: str, parts: AsyncIterable[bytes]) -> None:
        """Store what `parts` gives, holding at most PARTS_AT_ONCE + 1 times PART_BYTES of it.

        What `parts` raises is raised; then, and after a cancel, nothing is stored.
        """
        writer = obstore.open_writer_async(
            self._store, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )
        # Left by an exception it aborts: parts sent so far are removed from the store.
        with _answering(key):
            async with writer:
                async for part in _told_apart(parts):
                    await writer.write(part)

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from `start` to before `end`, part by part, each asked for when wanted.

        Raises:
            BlobsUnavailable: also when the blob is not there (any more).
        """
        while start < end:
            stop = min(start + READ_BYTES, end)
            with _answering(key):
                part = await obstore.get_range_async(self._store, key, start=start, end=stop)
            yield part.to_bytes()
            start = stop

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is no error."""
        try:
            with _answering(key):
                await obstore.delete_async(self._store, key)
        except _Missing:
            return

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Blob]]:
        """Give all blobs below a prefix, page by page, in no order."""
        pages = obstore.list(self._store, prefix)
        while True:
            with _answering(prefix):
                page = await anext(pages, None)
            if page is None:
                return
            yield [Blob(one["path"], one["size"], one["last_modified"]) for one in page]

    async def clear_staged(self, before: datetime) -> int:
        """Remove what writers that died left half written before that time; return how many.

        Only a folder needs it: Azure forgets such parts after a week, and in S3 a lifecycle rule
        does (AbortIncompleteMultipartUpload).
        """
        if self._folder is None:
            return 0
        return await asyncio.to_thread(_clear_staged, self._folder, before.timestamp())


def open_blobs(url: str) -> Blobs:
    """Return the blobs at a URL; nothing is asked of the store yet, but a folder is made.

    `memory://` is for tests: each call gives an empty store that ends with the process.

    Raises:
        BadBlobsUrl: no such scheme, or the folder cannot be made.
    """
    scheme, folder = urlsplit(url).scheme, Path(unquote(urlsplit(url).path))
    if scheme not in _SCHEMES:
        raise BadBlobsUrl(url, f"the scheme {scheme!r} is not known")
    try:
        if scheme == "memory":
            return Blobs(MemoryStore())
        if scheme == "file":
            return Blobs(from_url(url, mkdir=True), folder)
        return Blobs(from_url(url, retry_config=_RETRIES))
    except (BaseError, OSError, ValueError) as error:
        raise BadBlobsUrl(url, _first_line(error)) from error


class _Missing(BlobsUnavailable):
    """The blob is not there."""


class _Given(Exception):
    """Carries what the source of an upload raised past the store's own errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


async def _told_apart(parts: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    try:
        async for part in parts:
            yield part
    except Exception as error:
        raise _Given(error) from error


@contextmanager
def _answering(key: str) -> Iterator[None]:
    try:
        yield
    except _Given as given:
        raise given.error from None
    except (FileNotFoundError, NotFoundError) as error:
        raise _Missing(f"the blob store has no {key}") from error
    except (BaseError, OSError) as error:
        # The first line only: the rest is the library's inner state, with addresses in it.
        raise BlobsUnavailable(f"the blob store, asked for {key}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]


def _clear_staged(folder: Path, before: float) -> int:
    old = [
        path
        for path in folder.rglob("*#*")
        if _STAGED.match(path.name) and path.stat().st_mtime < before
    ]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
