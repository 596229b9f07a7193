"""Whole servers below their edges, several in one process, on real stores."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from types import MappingProxyType
from typing import Any

import asyncpg
from pydantic import SecretStr

from src.state.guards import ALL_ON, Guards
from src.state.models import Durability, Read, Version
from src.state.tiers.keys import body_key
from src.swarm.forwarding import Receipt
from src.swarm.opened import Runtime
from src.swarm.providers import Provider
from src.swarm.providers.registry import Find
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.shapes.commands import AddParticipant, Create, NewParticipant, PostMessage, Speaker
from src.swarm.shapes.models import ConversationState
from tests.support.cluster_settings import settings

ADA = Speaker("person", "ada")
_keys = count(1)


class Member:
    """One server, in the words of a test."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.service = runtime.service
        self.status = runtime.status

    @property
    def id(self) -> str:
        id: str = self.status.summary()["server_id"]
        return id

    def count(self, name: str) -> float:
        """One of the write path's counters."""
        return self.status.counts()[name]

    def store(self, kind: str = "conversation") -> dict[str, float]:
        """A tier's counters."""
        return dict(self.status.stores()[kind])

    async def create(self, id: str) -> Receipt:
        """Open a conversation that ada takes part in."""
        command = Create(id, participants=(NewParticipant("ada", "person", "Ada"),))
        return await self.service.submit_here(
            id, command, key=f"create {id}", actor="ada", create=True
        )

    async def say(
        self,
        id: str,
        text: str,
        *,
        key: str | None = None,
        durability: Durability | None = None,
    ) -> Receipt:
        """Post a message as ada, as the owner."""
        return await self.service.submit_here(
            id,
            PostMessage(ADA, text),
            key=key or f"key {next(_keys)}",
            actor="ada",
            durability=durability,
        )

    async def join(self, id: str, name: str) -> Receipt:
        """Add a participant."""
        command = AddParticipant(NewParticipant(name, "person", name))
        return await self.service.submit_here(id, command, key=f"join {name}", actor="ada")

    async def read(self, id: str, *, at_least: Version | None = None) -> Read[ConversationState]:
        return await self.service.read(id, at_least=at_least)

    async def texts(self, id: str, *, at_least: Version | None = None) -> list[str]:
        """The messages that this server shows now."""
        state = (await self.read(id, at_least=at_least)).entry.state
        return [message.text for message in state.messages]


@asynccontextmanager
async def open_members(
    database_url: str,
    redis_url: str,
    number: int = 2,
    *,
    guards: Guards = ALL_ON,
    providers: Mapping[str, Provider] = MappingProxyType({}),
    find_provider: Find | None = None,
    **changes: Any,
) -> AsyncIterator[Sequence[Member]]:
    """Open servers that share their stores; they do not reach each other by HTTP."""
    async with AsyncExitStack() as stack:
        members = []
        for place in range(1, number + 1):
            given = RuntimeSettings(
                settings(database_url, redis_url, **changes),
                SwarmSettings(
                    server_url=f"http://127.0.0.1:{place}", internal_secret=SecretStr("x" * 32)
                ),
            )
            runtime = await stack.enter_async_context(
                open_runtime(given, guards=guards, providers=providers, find_provider=find_provider)
            )
            members.append(Member(runtime))
        yield members


SHORT: dict[str, Any] = {
    "beat_interval": 0.2,
    "owner_deadline": 0.5,
    "dead_after": 0.8,
    "pull_interval": 0.1,
    "pull_deadline": 0.4,
    "flush_debounce": 0.3,
    "flush_max_wait": 0.6,
}
"""Deadlines a tenth as long, in the same order."""


class Database:
    """What a test asks PostgreSQL itself."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def value(self, query: str, *arguments: object) -> Any:
        """The single value of a query."""
        return await self._connection.fetchval(query, *arguments)

    async def column(self, query: str, *arguments: object) -> list[Any]:
        """The first value of every row."""
        return [row[0] for row in await self._connection.fetch(query, *arguments)]

    async def texts(self, id: str) -> list[str]:
        """The messages in the log, in order."""
        return await self.column(
            "SELECT convert_from(body, 'UTF8')::jsonb #>> '{message,text}' FROM events "
            "WHERE conversation_id = $1 AND type = 'message_added' ORDER BY seq",
            id,
        )

    async def count_snapshot_writes(self) -> None:
        """Have the database count every snapshot row that is written from now on."""
        await self._connection.execute(
            """
            CREATE TABLE snapshot_writes (id text);
            CREATE FUNCTION count_snapshot_write() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO snapshot_writes VALUES (NEW.conversation_id); RETURN NEW; END $$;
            CREATE TRIGGER count_snapshot_write AFTER INSERT OR UPDATE ON snapshots
                FOR EACH ROW EXECUTE FUNCTION count_snapshot_write();
            """
        )

    async def snapshot_writes(self, id: str) -> int:
        found: int = await self.value("SELECT count(*) FROM snapshot_writes WHERE id = $1", id)
        return found


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Connect beside the servers."""
    connection = await asyncpg.connect(url)
    try:
        yield Database(connection)
    finally:
        await connection.close()


def conversation_key(id: str) -> str:
    """Where L2 keeps a conversation."""
    return body_key("conversation", id)
