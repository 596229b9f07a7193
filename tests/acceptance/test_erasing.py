"""`swarmstate erase` and `swarmstate sweep`, beside a server that goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg

from tests.integration.api.begun import ROOM, begin
from tests.support.api import SECRET, running_server

SWARMSTATE = Path(sys.executable).with_name("swarmstate")


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SWARMSTATE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **settings},
    )


async def test_operator_erases_a_conversation_that_a_server_owns(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {
        "SWARMSTATE_DATABASE_URL": database_url,
        "SWARMSTATE_REDIS_URL": redis_url,
        "SWARMSTATE_API_JWT_SECRET": SECRET,
        "SWARMSTATE_BLOBS_URL": tmp_path.as_uri(),
    }
    async with (
        running_server(database_url, redis_url) as server,
        server.as_("carl") as carl,
    ):
        await begin(carl)
        assert (await carl.post(f"{ROOM}/messages", json={"text": "hello"})).is_success
        erased = await asyncio.to_thread(run, "erase", "c-1", "--yes", **settings)
        never = await asyncio.to_thread(run, "erase", "never", "--yes", **settings)
        swept = await asyncio.to_thread(run, "sweep", **settings)
        gone = await carl.get(ROOM)

    assert (erased.returncode, erased.stdout.splitlines()[-1]) == (0, "erased 2 events of c-1")
    assert never.returncode == 1
    assert "there is no conversation 'never'" in never.stderr
    assert (swept.returncode, "removed 0 files" in swept.stdout) == (0, True)
    assert gone.status_code == 404
    connection = await asyncpg.connect(database_url)
    try:
        types = [row["type"] for row in await connection.fetch("SELECT type FROM events")]
    finally:
        await connection.close()
    assert types == ["deleted"]
