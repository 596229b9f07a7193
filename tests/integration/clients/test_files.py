"""Files through the client: from a path to a path, over two servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from swarmstate_client import Client, NotFound

CONTENT = bytes(range(256)) * 8000


async def parts() -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), 300_000):
        yield CONTENT[start : start + 300_000]


async def test_a_file_goes_there_and_comes_back(
    swarm: Client, there: Client, tmp_path: Path
) -> None:
    await swarm.conversations.create("c-1")
    source, target = tmp_path / "plan ä.pdf", tmp_path / "copy"
    source.write_bytes(CONTENT)
    first = await swarm.files.upload("c-1", source, type="application/pdf", key="k")
    again = await there.files.upload("c-1", source, type="application/pdf", key="k")
    assert (again.id, again.repeated) == (first.id, True)
    head = await there.files.download(first.id, target)
    assert target.read_bytes() == CONTENT
    assert (head.name, head.type, head.bytes) == ("plan ä.pdf", "application/pdf", len(CONTENT))
    streamed = await swarm.files.upload("c-1", parts(), name="streamed")
    assert streamed.sha256 == first.sha256
    assert b"".join([part async for part in there.files.parts(streamed.id)]) == CONTENT
    listed = [one.id async for one in there.files.list("c-1", page=1)]
    assert set(listed) == {first.id, streamed.id}
    await swarm.files.delete(first.id)
    with pytest.raises(NotFound):
        await there.files.look(first.id)
