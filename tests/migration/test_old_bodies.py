"""Bodies of configs that other releases have stored."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from src.state.clock import SystemClock
from src.state.configs import Configs, ConfigSource
from src.state.errors import Undecodable
from src.state.models import Entry
from src.state.records.edits import Edits
from src.state.tiers.engine import open_engine
from src.swarm.configs.inheritance import Layer, Origin, effective
from src.swarm.configs.service import TEAMS
from src.swarm.configs.teams import TeamConfig, TeamDefaults, decode_team, upgraded
from src.swarm.shapes.config import Config, Policy, ResponderRules, Scheduling
from src.swarm.shapes.limits import Limits
from tests.integration.state.test_revocations import Told
from tests.support.cluster_settings import settings
from tests.support.embedding import query

pytestmark = pytest.mark.servers

OLD = (
    '{"name":"School","schema":1,"members":[{"bot":"tutor","role":"","priority":0}],'
    '"objectives":[],"structure":{"type":"","content":""},"defaults":{"limits":{"credits":5},'
    '"scheduling":{"default_delay_ms":0,"tool_delays":{},"requires_approval":["pay"],'
    '"approval_timeout_s":600.0,"auto_reject_on_timeout":true},'
    '"policy":{"visibility":"open","acl":[]},'
    '"responder":{"policy":"default","moderator":null,"default_bot":"tutor","keywords":{},'
    '"loop_cap":6},"blackboard":[]}}'
)
"""As a release wrote it that wrote every default out. It set credits, an approval and a bot."""
SET = TeamDefaults(
    limits=Limits(credits=5),
    scheduling=Scheduling(requires_approval=("pay",)),
    responder=ResponderRules(default_bot="tutor"),
)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with open_engine(settings(database_url)) as opened:
        yield opened


def stored(url: str, body: str, schema: int) -> None:
    query(
        url,
        "INSERT INTO configs (kind, id, version, schema, body, updated_by) "
        f"VALUES ('team', 'school', 1, {schema}, '{body}', 'ed')",
        "SELECT 1",
    )


async def load(engine: AsyncEngine) -> TeamConfig:
    entry = await ConfigSource(TEAMS, engine).load("school", None)
    assert isinstance(entry, Entry)
    return entry.state.body


def teams(engine: AsyncEngine) -> Configs[TeamConfig]:
    return Configs(TEAMS, engine, Edits(engine, Told(), settings()), SystemClock())


async def test_team_that_wrote_its_defaults_out_does_not_set_them(
    engine: AsyncEngine, database_url: str
) -> None:
    stored(database_url, OLD, 1)
    assert (await load(engine)).defaults == SET


async def test_conversation_of_such_a_team_inherits_global_settings_through_it(
    engine: AsyncEngine, database_url: str
) -> None:
    stored(database_url, OLD, 1)
    above = Layer(
        Origin("global"),
        scheduling=Scheduling(approval_timeout_s=30.0, requires_approval="all"),
        policy=Policy("private"),
        responder=ResponderRules(loop_cap=2),
    )
    given = (await load(engine)).defaults
    team = Layer(Origin("team"), given.limits, given.scheduling, given.policy, given.responder)
    held = effective(Config(), (above, team))
    assert (held.scheduling.approval_timeout_s, held.scheduling.requires_approval) == (30, ("pay",))
    assert (held.policy.visibility, held.responder.loop_cap) == ("private", 2)


async def test_edit_of_an_old_team_stores_it_in_the_new_schema(
    engine: AsyncEngine, database_url: str
) -> None:
    stored(database_url, OLD, 1)
    await teams(engine).write("school", "ed", lambda old: (old.body, False))  # type: ignore[union-attr]  # it is there
    assert query(database_url, "SELECT schema FROM configs") == 2
    assert (await load(engine)).defaults == SET
    written = query(database_url, "SELECT convert_from(body, 'UTF8') FROM configs")
    assert '"policy":{}' in str(written)


def test_copy_of_an_old_team_in_a_cache_means_the_same() -> None:
    record = (
        '{"kind":"team","id":"school","version":1,"body":' + OLD + ',"deleted":false,'
        '"updated_by":"ed","updated_at":"2026-01-01T00:00:00Z"}'
    )
    assert TEAMS.decode_state(record.encode()).body.defaults == SET


def test_client_that_sends_an_old_body_back_sets_no_more_than_before() -> None:
    assert decode_team(OLD.encode()).defaults == SET


def test_team_of_this_schema_may_set_what_is_built_in() -> None:
    team = TeamConfig("A", defaults=TeamDefaults(policy=Policy("open")))
    assert upgraded(team) is team


async def test_team_of_a_newer_release_is_neither_read_nor_written_back(
    engine: AsyncEngine, database_url: str
) -> None:
    stored(database_url, '{"name":"School","schema":3,"mood":"good"}', 3)
    with pytest.raises(Undecodable, match="schema 3, this release reads up to 2"):
        await load(engine)
    with pytest.raises(Undecodable, match="schema 3"):
        await teams(engine).write("school", "ed", lambda _: (TeamConfig("School"), False))
    assert query(database_url, "SELECT version FROM configs") == 1
