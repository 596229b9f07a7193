"""The guard of the configs, on a real database: they have no model in memory."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from src.state.clock import SystemClock
from src.state.configs import Configs
from src.state.errors import SharedTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.models import Announcement, Version
from src.state.records.edits import Edits
from src.state.tiers.engine import open_engine
from src.state.tiers.postgres import Line
from src.state.tiers.postgres_ownership import PostgresRegistry
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.service import KINDS
from tests.guards.table import shows
from tests.support.cluster_settings import settings
from tests.support.history import Broken, Violation


class Deaf:
    """`ChangePublisher` of a server that dies, or loses Redis, right after its commit."""

    async def publish(self, changes: Sequence[Announcement]) -> None:
        raise SharedTierUnavailable("nobody hears this")


@shows("outbox", Broken.UNTOLD)
async def test_committed_config_is_always_announced(database_url: str) -> None:
    """Every server reads the outbox, whatever became of Redis."""
    assert await announced(database_url, "ada", ALL_ON) == []
    (violation,) = await announced(database_url, "ben", replace(ALL_ON, outbox=False))
    assert violation.broken is Broken.UNTOLD


async def announced(database_url: str, id: str, guards: Guards) -> list[Violation]:
    """Commit a bot; return what is wrong with how the other servers hear of it."""
    given = settings(database_url)
    async with open_engine(given) as engine, aclosing(Line(given)) as line:
        edits = Edits(engine, Deaf(), given, guards=guards)
        bots = Configs(KINDS["bot"], engine, edits, SystemClock())
        registry = PostgresRegistry(line, line)
        before = await registry.outbox_end()
        await bots.write(id, "somebody", lambda _: (BotConfig(id), False))
        told = (await registry.pull(before)).changes
    if [change.announcement for change in told] == [Announcement("bot", id, Version(0, 1))]:
        return []
    return [Violation(Broken.UNTOLD, id, f"the outbox has {told}")]
