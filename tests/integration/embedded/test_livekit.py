"""A livekit-server of one's own: reached with its key, on loopback alone, and never left behind."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from livekit import api

from src.embedded import StartFailed, open_livekit
from src.embedded.binaries import Binary, find_livekit
from src.embedded.livekit import Running
from tests.support.embedding import alive
from tests.support.livekit import needs_livekit

pytestmark = needs_livekit

HOLDER = """
import sys
from pathlib import Path
from src.embedded import open_livekit
from src.embedded.binaries import find_livekit

with open_livekit(find_livekit(), Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def rooms(server: Running, secret: str) -> list[str]:
    """What LiveKit answers to whoever signs with this secret."""

    async def ask() -> list[str]:
        async with api.LiveKitAPI(server.url, server.key, secret) as client:
            await client.room.create_room(api.CreateRoomRequest(name="lesson"))
            found = await client.room.list_rooms(api.ListRoomsRequest())
            return [room.name for room in found.rooms]

    return asyncio.run(ask())


def test_livekit_answers_who_has_its_key_and_is_gone_afterwards(tmp_path: Path) -> None:
    with open_livekit(find_livekit(), tmp_path) as server:
        assert rooms(server, server.secret) == ["lesson"]
        with pytest.raises(api.ServerError):
            rooms(server, "a guess of thirty-two characters or more")
        pid = server.pid
        assert pid is not None
        assert server.program.startswith("LiveKit ")
    assert not alive(pid)
    # Of another run: no key opens both, and nothing is kept.
    with open_livekit(find_livekit(), tmp_path) as other:
        assert other.secret != server.secret
        assert rooms(other, other.secret) == ["lesson"]


def test_secret_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    with open_livekit(find_livekit(), tmp_path) as server:
        file = tmp_path / "livekit" / "livekit.json"
        assert json.loads(file.read_text())["keys"] == {server.key: server.secret}
        assert file.stat().st_mode & 0o077 == 0
        command = ["ps", "-o", "args=", "-p", str(server.pid)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert server.secret not in told.stdout


def test_livekit_ends_with_the_process_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert alive(pid)
        holder.kill()
    # The next one waits for the lock that the last of the killed one's processes holds.
    with open_livekit(find_livekit(), tmp_path) as server:
        assert not alive(pid)
        with urllib.request.urlopen(server.url.replace("ws", "http", 1), timeout=5) as answer:
            assert answer.status == 200


def test_program_that_is_no_livekit_is_named_with_its_log(tmp_path: Path) -> None:
    broken = Binary("LiveKit", "0.0", Path("/bin/false"), "/bin")
    with (
        pytest.raises(StartFailed, match="livekit ended with exit code 1"),
        open_livekit(broken, tmp_path),
    ):
        pytest.fail("it began")
