"""Two real servers hold one conversation: what one acknowledged the other shows, and the stores
are asked and written no more often than promised. Counts are PostgreSQL's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from redis.asyncio import Redis
from swarmstate_client import Client

from src.state.settings import StateSettings
from src.swarm.runtime import open_runtime
from src.swarm.service import SwarmService
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.shapes.commands import Create, NewParticipant, PostMessage, Speaker
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.evidence import all_flushed
from tests.support.stage import Tell

ADA = {"id": "ada", "kind": "person", "name": "Ada"}


@asynccontextmanager
async def clients_of(cluster: Cluster) -> AsyncIterator[list[Client]]:
    """Give a client of each server; none knows what another one was told."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Client(url, cluster.token, connections=1000))
            for url in cluster.urls
        ]


async def say(swarm: Client, text: str) -> str:
    """Add a turn; return the acked version."""
    author = {"kind": "person", "id": "ada"}
    return (await swarm.conversations.say("c-1", text, author=author)).version


async def last_text(swarm: Client) -> tuple[str, str]:
    """Return the newest message and the version that a server shows, which it says is fresh."""
    state = await swarm.conversations.get("c-1")
    assert state.freshness == "fresh"
    return state.messages[-1].text if state.messages else "", state.version.token


async def test_a_turn_posted_on_one_server_is_read_on_the_other(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_cluster(database_url, redis_url, tmp_path) as cluster,
        clients_of(cluster) as clients,
    ):
        await clients[0].conversations.create("c-1", participants=[ADA])
        for number in range(40):
            here, there = clients[number % 2], clients[1 - number % 2]

            text = f"with the acked version, {number}"
            version = await say(here, text)
            there.conversations.saw("c-1", version)
            assert await last_text(there) == (text, version)

            text = f"without it, {number}"
            version = await say(here, text)

            async def is_shown(reader: Client = there, expected: str = text) -> bool:
                return (await last_text(reader))[0] == expected

            await eventually(is_shown, 2.0, what=f"turn {version} is read without its version")


async def counted(database_url: str, what: str, tables: str) -> int:
    """Return the sum of a column of pg_stat_user_tables, once no server is connected any more: a
    backend may keep its counts to itself as long as it lives.
    """
    database = await asyncpg.connect(database_url)

    async def is_alone() -> bool:
        others = await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return bool(others == 0)

    try:
        await eventually(is_alone, 20, what="the servers' connections are gone")
        total: int = await database.fetchval(
            f"SELECT sum({what})::bigint FROM pg_stat_user_tables WHERE relname LIKE $1", tables
        )
        return total
    finally:
        await database.close()


LOADS = ("coalesce(seq_scan, 0) + coalesce(idx_scan, 0)", "events%")
"""Reading a state from L3 scans the log once, in the conversation's partition."""


async def test_a_thousand_reads_of_a_cold_conversation_are_one_read_of_the_database(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_cluster(database_url, redis_url, tmp_path, count=1) as cluster,
        clients_of(cluster) as (swarm,),
    ):
        await swarm.conversations.create("c-1", participants=[ADA])
        await say(swarm, "hello")
        await all_flushed(cluster.database)
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    before = await counted(database_url, *LOADS)

    async with (
        open_cluster(database_url, redis_url, tmp_path, count=1) as cluster,
        clients_of(cluster) as (swarm,),
    ):
        reads = [last_text(swarm) for _ in range(1000)]
        assert {text for text, _ in await asyncio.gather(*reads)} == {"hello"}
    assert await counted(database_url, *LOADS) - before == 1


async def test_fifty_updates_within_two_seconds_are_one_write_of_the_snapshot(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_cluster(database_url, redis_url, tmp_path, count=1) as cluster,
        clients_of(cluster) as (swarm,),
    ):
        await swarm.conversations.create("c-1", participants=[ADA])
        await all_flushed(cluster.database)
        await asyncio.gather(*(say(swarm, f"update {n}") for n in range(50)))
        await all_flushed(cluster.database)
    assert await counted(database_url, "n_tup_ins", "snapshots") == 1, "the beginning"
    assert await counted(database_url, "n_tup_upd", "snapshots") == 1, "the fifty updates"


_BUSY = 1000
_TURNS = 14
_PACE_S = 0.9
_DEBOUNCE_S = 4.0
"""A turn at that pace keeps a conversation from ever being quiet for so long, on a machine that
stalls for seconds too."""
_FLUSHED_EVERY_S = 5.0
_MARGIN_S = 4.0
"""For the flush of a thousand on a busy machine, and for the look at it. One that the debounce
starved would wait until the turns end: 14 times 0.9 s."""


async def test_a_thousand_busy_conversations_are_each_flushed_every_five_seconds(
    database_url: str, redis_url: str, tell: Tell
) -> None:
    """The server runs in the client's process: a thousand requests a second would be the load."""
    ids = [f"busy-{number}" for number in range(_BUSY)]
    settings = RuntimeSettings(
        StateSettings(
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_url),
            flush_debounce=timedelta(seconds=_DEBOUNCE_S),
        ),
        SwarmSettings(internal_secret=SecretStr("x" * 32)),
    )
    database = await asyncpg.connect(database_url)
    async with open_runtime(settings) as runtime:
        watching = asyncio.create_task(longest_wait_for_a_flush(database, len(ids)))
        pauses = await asyncio.gather(*(keep_busy(runtime.service, id) for id in ids))
        waited_s = await watching
    await database.close()
    tell(f"longest wait for a flush {waited_s:.2f} s, longest pause {max(pauses):.2f} s")
    assert max(pauses) < _DEBOUNCE_S, "no conversation was ever quiet, else this proves nothing"
    assert waited_s <= _FLUSHED_EVERY_S + _MARGIN_S


async def keep_busy(service: SwarmService, id: str) -> float:
    """Post turns to a new conversation at the pace; return its longest pause in seconds."""
    people = (NewParticipant("ada", "person", "Ada"),)
    await service.submit(id, Create(id, participants=people), key="open", actor="ada", create=True)
    began = last = time.monotonic()
    longest = 0.0
    for number in range(1, _TURNS + 1):
        await asyncio.sleep(began + number * _PACE_S - time.monotonic())
        turn = PostMessage(Speaker("person", "ada"), "go on")
        await service.submit(id, turn, key=f"turn-{number}", actor="ada")
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest


async def longest_wait_for_a_flush(database: asyncpg.Connection, conversations: int) -> float:
    """Watch until all turns are logged; return for how long, in seconds, the most neglected
    conversation's snapshot stood still from when it was first seen behind its log.
    """
    behind_since: dict[str, tuple[int, float]] = {}
    longest = 0.0
    while True:
        rows = await database.fetch(
            "SELECT c.id, c.seq, coalesce(s.seq, 0) AS flushed FROM conversations c "
            "LEFT JOIN snapshots s ON s.conversation_id = c.id"
        )
        now = time.monotonic()
        for id, seq, flushed in rows:
            before, since = behind_since.get(id, (-1, now))
            if flushed == seq or flushed != before:
                behind_since[id] = flushed, now
            else:
                longest = max(longest, now - since)
        if len(rows) == conversations and all(row["seq"] > _TURNS for row in rows):
            return longest
        await asyncio.sleep(0.2)
