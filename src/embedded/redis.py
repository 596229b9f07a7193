"""Redis, or Valkey, in a data folder: a cache, thrown away when the program changes."""

import os
import shutil
import signal
from pathlib import Path

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from src.embedded.binaries import Binary
from src.embedded.data_dir import DataDir
from src.embedded.process import Order

STOP = ((signal.SIGTERM, 15.0),)
MEMORY = "512mb"
ANSWER_S = 2.0


class Redis:
    """The recipe for a Redis or Valkey server; see `Recipe`."""

    name = "redis"

    def __init__(self, binary: Binary, data_dir: DataDir, *, durable: bool) -> None:
        self._binary = binary
        self._data_dir = data_dir
        self._durable = durable
        self._folder = data_dir.path / self.name

    @property
    def program(self) -> str:
        return str(self._binary)

    def url(self, port: int) -> str:
        return f"redis://:{self._data_dir.password}@127.0.0.1:{port}/0"

    def prepare(self) -> None:
        """Make the folder; empty it if another program wrote it, since formats differ."""
        made_by = self._folder / "made-by"
        program = f"{self._binary.name} {self._binary.major}"
        if not made_by.exists() or made_by.read_text() != program:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
            made_by.write_text(program)

    def order(self, port: int, log: Path) -> Order:
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": self._data_dir.password,
            "dir": f'"{self._folder}"',
            "daemonize": "no",
            "maxmemory": MEMORY,
            "maxmemory-policy": "volatile-lru",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "save": '""',
        }
        # A file, not arguments: everybody on the machine can read a command line.
        file = self._folder / "redis.conf"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.writelines(f"{name} {value}\n" for name, value in settings.items())
        return Order(
            command=(str(self._binary.path), str(file)), folder=self._folder, log=log, stop=STOP
        )

    def ready(self, pid: int, port: int) -> bool:
        try:
            with Client.from_url(
                self.url(port),
                socket_timeout=ANSWER_S,
                socket_connect_timeout=ANSWER_S,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                return bool(client.info("server")["process_id"] == pid)
        except RedisError:
            return False
