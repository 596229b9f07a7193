"""A file goes through a server; it does not come to lie in its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.streaming import stream

SIZE = 128 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_memory_does_not_grow_with_the_file(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"SWARMSTATE_BLOBS_URL": (tmp_path / "blobs").as_uri()}
    streamed = await stream(database_url, redis_url, tmp_path, SIZE, settings)

    assert streamed.whole
    assert streamed.grown_bytes < SIZE // 2, streamed
