"""`swarmstate quarantine` on a real table: an operator finds what could never be stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from src.state.models import Version
from tests.support.cluster_runtimes import open_members
from tests.support.cluster_settings import eventually
from tests.support.commands import run


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_state_that_the_database_refuses_is_counted_listed_shown_and_dropped(
    database: asyncpg.Connection, database_url: str, redis_url: str
) -> None:
    """Others of its flush are written, its turns are in the log, and nobody is held up."""
    await database.execute(
        "ALTER TABLE snapshots ADD CONSTRAINT poison CHECK (conversation_id <> 'poison')"
    )
    async with open_members(database_url, redis_url, 1, flush_debounce=0.2) as [a]:
        for id in ("before", "poison", "behind"):
            await a.create(id)
        await a.say("poison", "still logged")
        await eventually(lambda: a.count("dirty") == 0, what="the buffer is empty")
        assert a.count("quarantined") >= 1
        assert await a.texts("poison") == ["still logged"]
    saved = await database.fetch("SELECT conversation_id FROM snapshots ORDER BY 1")
    assert [row[0] for row in saved] == ["before", "behind"]

    listed = run("quarantine", "list", "--json", SWARMSTATE_DATABASE_URL=database_url)
    (row,) = json.loads(listed.stdout)
    assert (row["type"], row["aggregate_id"]) == ("snapshot", "poison")
    assert "poison" in row["why"]
    number = str(row["position"])
    assert "poison" in run("quarantine", "list", SWARMSTATE_DATABASE_URL=database_url).stdout
    shown = run("quarantine", "show", number, SWARMSTATE_DATABASE_URL=database_url)
    assert json.loads(shown.stdout)["id"] == "poison"
    dropped = run("quarantine", "drop", number, SWARMSTATE_DATABASE_URL=database_url)
    assert (dropped.returncode, dropped.stdout) == (0, "dropped 1\n")
    again = run("quarantine", "drop", number, SWARMSTATE_DATABASE_URL=database_url)
    assert (again.returncode, number in again.stderr) == (1, True)
    empty = run("quarantine", "list", SWARMSTATE_DATABASE_URL=database_url)
    assert "nothing is in quarantine" in empty.stdout


async def test_poison_keeps_its_conversation_readable_on_the_next_owner(
    database: asyncpg.Connection, database_url: str, redis_url: str
) -> None:
    await database.execute(
        "ALTER TABLE conversation_summaries ADD CONSTRAINT poison CHECK (last_text <> 'poison')"
    )
    async with open_members(database_url, redis_url, 1, flush_debounce=0.2) as [a]:
        await a.create("c")
        await a.say("c", "poison")
        await eventually(lambda: a.count("dirty") == 0, what="the buffer is empty")
    async with open_members(database_url, redis_url, 1) as [b]:
        assert await b.texts("c") == ["poison"]
        receipt = await b.say("c", "antidote")
        assert receipt.version == Version(receipt.version.epoch, 3)
