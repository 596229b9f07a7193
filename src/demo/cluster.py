"""The servers of one machine with what they stand on: PostgreSQL, Redis, one secret for all."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType

from src.demo.processes import ServerProcess
from src.embedded import Servers, open_servers
from src.state.tiers.migrations import migrate

DATABASE_URL, REDIS_URL = "SWARMSTATE_DATABASE_URL", "SWARMSTATE_REDIS_URL"
BLOBS_URL = "SWARMSTATE_BLOBS_URL"
JWT_SECRET = "SWARMSTATE_API_JWT_SECRET"  # noqa: S105  # the name of a setting
_SECRET_FILE = "jwt_secret"  # noqa: S105  # the name of a file
_PRIVATE_WEBHOOKS = "SWARMSTATE_WEBHOOK_PRIVATE_ADDRESSES"
_CHOSEN_BY_US = ("SWARMSTATE_API_HOST", "SWARMSTATE_API_PORT", "SWARMSTATE_SERVER_URL")

NO_ROOMS: Mapping[str, str] = MappingProxyType({})

OnEvent = Callable[[str, dict[str, object]], None]


class Stores:
    """PostgreSQL and Redis, migrated; the data folder; and the secret that signs tokens."""

    def __init__(
        self, servers: Servers, data_dir: Path, jwt_secret: str, settings: Mapping[str, str]
    ) -> None:
        self.servers = servers
        self.data_dir = data_dir
        self.jwt_secret = jwt_secret
        self._settings = settings

    def environment(self) -> dict[str, str]:
        """Return the settings of a server on these stores.

        The secret between servers follows from the users' one, so all have the same.
        """
        return {
            BLOBS_URL: (self.data_dir / "blobs").as_uri(),
            **self._settings,
            DATABASE_URL: self.servers.database_url,
            REDIS_URL: self.servers.redis_url,
            JWT_SECRET: self.jwt_secret,
        }


@contextmanager
def open_stores(
    data_dir: Path, settings: Mapping[str, str], *, on_event: OnEvent | None = None
) -> Iterator[Stores]:
    """Start what `settings` has no URL for, bring the tables up to date, stop it at the end.

    `settings` are SWARMSTATE_* variables, which the servers get too. Must not be called from a
    running event loop.

    Raises:
        EmbeddedError: PostgreSQL or Redis could not be started. What `migrate` raises: a database
            given by URL does not answer.
    """
    # Absolute, since servers run elsewhere.
    data_dir = data_dir.absolute()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_servers(
        data_dir,
        database_url=settings.get(DATABASE_URL),
        redis_url=settings.get(REDIS_URL),
        on_event=on_event,
    ) as servers:
        migrate(servers.database_url)
        secret = settings.get(JWT_SECRET) or jwt_secret(data_dir, make=True)
        yield Stores(servers, data_dir, secret, {_PRIVATE_WEBHOOKS: "true", **settings})


def settings_given() -> dict[str, str]:
    """Return the SWARMSTATE_* variables, but for those that say where one server listens."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("SWARMSTATE_") and name not in _CHOSEN_BY_US
    }


def jwt_secret(data_dir: Path, *, make: bool = False) -> str:
    """Return the secret of the folder, which signs users' tokens.

    Raises:
        FileNotFoundError: the folder has none, and none shall be made.
    """
    file = data_dir / _SECRET_FILE
    if make and not file.exists():
        write_private(file, secrets.token_urlsafe(36))
    return file.read_text().strip()


def write_private(file: Path, text: str) -> None:
    """Put a secret into a file that only its owner reads; whole or not at all."""
    draft = file.with_name(f"{file.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text + "\n")
    draft.rename(file)


@asynccontextmanager
async def open_cluster(
    stores: Stores,
    ports: Sequence[int],
    *,
    without: Sequence[str] = (),
    media: Mapping[str, str] = NO_ROOMS,
) -> AsyncIterator[list[ServerProcess]]:
    """Start a server per port, named A, B, ...; drain and end them all at the end of the block.

    With the settings of a LiveKit they host rooms.

    Raises:
        ServerEnded: one of them did not come up.
    """
    environment = {**stores.environment(), **media}
    servers = [
        ServerProcess(
            _name(index),
            port,
            environment,
            stores.data_dir / f"server-{_name(index)}.log",
            without=without,
            rooms=bool(media),
        )
        for index, port in enumerate(ports)
    ]
    for server in servers:
        # Of this run only, or it would grow for ever.
        server.log.unlink(missing_ok=True)
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
    finally:
        await asyncio.gather(*(server.stop() for server in servers))


def _name(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else str(index + 1)
