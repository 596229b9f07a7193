"""A file of one gibibyte through one server, up and down, in a few megabytes of its memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.prove.act import Act, Place, Result
from tests.prove.stores import open_own_stores
from tests.support.streaming import Streamed, stream

_SIZE = 1 << 30
_MAY_GROW = 48 << 20
"""Twice what an upload holds: three parts of 8 MiB. A download holds less."""


async def _perform(place: Place) -> Result:
    settings = {"SWARMSTATE_BLOBS_URL": (place.folder / "blobs").as_uri()}
    place.tell(f"{_SIZE >> 20} MiB up and down")
    async with open_own_stores(place) as stores:
        streamed = await stream(
            stores.database_url, stores.redis_url, place.folder, _SIZE, settings
        )
    return Result(
        counts={
            "file_bytes": streamed.size,
            "file_rss_before_bytes": streamed.before_bytes,
            "file_rss_peak_bytes": streamed.peak_bytes,
        },
        figures={"file_up_s": [streamed.up_s], "file_down_s": [streamed.down_s]},
        violations=list(_violations(streamed)),
        notes=[f"file of {_SIZE} bytes: {streamed}"],
    )


def _violations(streamed: Streamed) -> Iterator[str]:
    if not streamed.whole:
        yield "the file did not come back as it was sent"
    if streamed.grown_bytes > _MAY_GROW:
        yield f"memory grew by {streamed.grown_bytes >> 20} MiB"


ACTS: Sequence[Act] = (Act("file-of-one-gibibyte", "files", _perform, about_s=60.0),)
