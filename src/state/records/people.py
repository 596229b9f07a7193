"""People and services: users, what they are logged in to, keys, and what is believed no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.clock import SystemClock
from src.state.models import Announcement
from src.state.protocols import Clock, Trip, open_way
from src.state.records.api_keys import ApiKeys
from src.state.records.edits import Edits
from src.state.records.revocations import Revocations
from src.state.records.sessions import Sessions
from src.state.records.users import Users
from src.state.settings import StateSettings
from src.state.tiers.engine import open_engine
from src.state.tiers.memory import Lease


class People:
    """The tables behind the door, together."""

    def __init__(
        self,
        engine: AsyncEngine,
        edits: Edits,
        clock: Clock,
        told: Lease,
        settings: StateSettings,
        *,
        way: Trip = open_way,
    ) -> None:
        trust_s = settings.pull_deadline.total_seconds()
        self.revocations = Revocations(engine, edits, clock, told, trust_s, way=way)
        self.users = Users(engine, self.revocations, way=way)
        self.sessions = Sessions(engine, self.revocations, way=way)
        self.keys = ApiKeys(engine, self.revocations, way=way)

    async def purge(self, _: object = None) -> None:
        """Remove rows that have expired by themselves: the run of a duty."""
        await self.revocations.purge()
        await self.sessions.purge()

    async def aclose(self) -> None:
        await self.revocations.aclose()


class _OutboxAlone:
    """`ChangePublisher` of a process that is no server: the outbox tells the servers."""

    async def publish(self, changes: Sequence[Announcement]) -> None:
        """Nothing more is needed: servers read the outbox twice a second."""


@asynccontextmanager
async def open_people(database_url: str) -> AsyncIterator[People]:
    """Open the tables from outside a server, for the length of the block."""
    unused = SecretStr("redis://unused")
    settings = StateSettings(database_url=SecretStr(database_url), redis_url=unused)
    async with open_engine(settings) as engine:
        edits = Edits(engine, _OutboxAlone(), settings)
        yield People(engine, edits, SystemClock(), Lease(), settings)
