"""Real server processes on loopback, for tests that kill them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.demo.processes import ServerProcess, free_ports
from tests.support.nginx import THROUGH_NGINX, UPSTREAMS, in_front_of
from tests.support.services import ADMIN_LIMITS

_SECRET = "a secret of tests, at least thirty-two characters"

QUICK = {
    "SWARMSTATE_BEAT_INTERVAL": "PT0.3S",
    "SWARMSTATE_OWNER_DEADLINE": "PT0.8S",
    "SWARMSTATE_DEAD_AFTER": "PT1S",
    "SWARMSTATE_PULL_INTERVAL": "PT0.1S",
}
"""Beats that let a takeover begin a second after a death."""
DEFAULTS: Mapping[str, str] = {}


def token_of(subject: str, role: Role) -> str:
    """Return a token that every server here believes."""
    return issue_token(_SECRET, subject, (role,), lifetime=timedelta(hours=3))


class Cluster:
    """The servers, by name and as the database sees them."""

    def __init__(
        self,
        servers: list[ServerProcess],
        database: asyncpg.Connection,
        database_url: str,
        redis_url: str,
    ) -> None:
        self.servers = servers
        self.doors = self.urls
        """Where clients go that are content with any server: to each of them, or to nginx."""
        self.redis_url = redis_url
        self.database_url = database_url
        self.database = database
        self.token = token_of("replay", Role.SERVICE)

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    async def reconnect(self) -> None:
        """Look at the database again after it was away."""
        await self.database.close()
        self.database = await look_at(self.database_url)

    async def busiest(self) -> ServerProcess | None:
        """Return the server that owns the most conversations, as PostgreSQL says; None: none do."""
        url = await self.database.fetchval(
            "SELECT url FROM servers JOIN conversations c ON c.owner_id = servers.id "
            "WHERE dead_at IS NULL GROUP BY url ORDER BY count(*) DESC LIMIT 1"
        )
        return next((server for server in self.servers if server.url == url), None)

    async def given_up(self, server: ServerProcess) -> bool:
        """Say whether the others hold the server for dead."""
        found: bool = await self.database.fetchval(
            "SELECT NOT EXISTS (SELECT FROM servers WHERE url = $1 AND dead_at IS NULL)", server.url
        )
        return found

    async def owned_by(self, server: ServerProcess) -> dict[str, int]:
        """Return the conversations of a living server with the epoch it has them under."""
        rows = await self.database.fetch(
            "SELECT c.id, c.epoch FROM conversations c JOIN servers s ON s.id = c.owner_id "
            "WHERE s.url = $1 AND s.dead_at IS NULL",
            server.url,
        )
        return {row["id"]: row["epoch"] for row in rows}


@asynccontextmanager
async def open_cluster(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    settings: Mapping[str, str] = DEFAULTS,
    count: int = 2,
    own: Sequence[Mapping[str, str]] = (),
    rooms: bool = False,
) -> AsyncIterator[Cluster]:
    """Start `count` servers on these stores; drain and end them at the end of the block.

    `settings` are further SWARMSTATE_* variables of all of them, `own` those of each, which may
    name another way to a store. With `rooms` they host LiveKit's rooms.
    """
    environment = {
        "SWARMSTATE_DATABASE_URL": database_url,
        "SWARMSTATE_REDIS_URL": redis_url,
        "SWARMSTATE_API_JWT_SECRET": _SECRET,
        **settings,
    }
    servers = [
        ServerProcess(
            name, port, {**environment, **its}, folder / f"server-{name}.log", rooms=rooms
        )
        for name, port, its in zip("ABCDEFGH", free_ports(count), own or [{}] * count, strict=False)
    ]
    cluster = Cluster(servers, await look_at(database_url), database_url, redis_url)
    with ExitStack() as door:
        try:
            await asyncio.gather(*(server.start() for server in servers))
            if THROUGH_NGINX and count == UPSTREAMS:
                ports = [server.port for server in servers]
                cluster.doors = [door.enter_context(in_front_of(folder, *ports))]
            yield cluster
        finally:
            await asyncio.gather(*(server.stop() for server in servers))
            await cluster.database.close()


async def look_at(database_url: str) -> asyncpg.Connection:
    """Return a connection from outside, which may take longer than a server's."""
    return await asyncpg.connect(database_url, server_settings=ADMIN_LIMITS)
