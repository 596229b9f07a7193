"""What the tests of the embedded servers ask a pair of servers, and a process that opens one."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from msgspec import Struct
from redis import Redis

from tests.support.services import ADMIN_LIMITS, in_thread

HOLDER = """
import json, sys
from pathlib import Path
from urllib.parse import urlsplit
from src.embedded import open_servers

with open_servers(Path(sys.argv[1])) as servers:
    print(json.dumps({
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "pids": [servers.postgres_pid, servers.redis_pid],
    }), flush=True)
    sys.stdin.read()
"""


class Held(Struct, frozen=True, gc=False):
    """What a holder told of its servers."""

    database_url: str
    redis_url: str
    pids: tuple[int, ...]


class Holder:
    """Another process that has the servers of a data folder open until it is told to leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.held = Held(told["database_url"], told["redis_url"], tuple(told["pids"]))

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def leave(self) -> int:
        """Let it end by itself; return its exit code."""
        self._close()
        return self.process.returncode

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait(60)


def query(database_url: str, *statements: str) -> object:
    """Execute the statements on one connection; return the last one's value."""

    async def execute() -> object:
        connection = await asyncpg.connect(database_url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return in_thread(execute())


def let_wait(database_url: str) -> None:
    """Have PostgreSQL give up nothing for its time in this database, on connections from now on.

    A test can then count who waits, however slow the machine is.
    """
    name = urlsplit(database_url).path[1:]
    limits = (*ADMIN_LIMITS, "idle_in_transaction_session_timeout")
    endless = (f'ALTER ROLE CURRENT_USER IN DATABASE "{name}" SET {limit} = 0' for limit in limits)
    query(database_url, *endless, "SELECT 1")


def redis_set(redis_url: str, name: str, value: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.set(name, value)


def redis_get(redis_url: str, name: str) -> bytes | None:
    with Redis.from_url(redis_url) as client:
        found = client.get(name)
    assert found is None or isinstance(found, bytes)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits to be reaped, does not."""
    told = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(told.stdout.strip()) and not told.stdout.startswith("Z")


def parent_of(pid: int) -> int:
    """Return the warden of a server."""
    told = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(told.stdout)
