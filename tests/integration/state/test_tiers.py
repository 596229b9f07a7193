"""The three tiers of two servers, counted where the data is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from src.state.errors import Behind
from src.state.models import Durability, Version, Where
from src.state.reads.source import LogSource
from src.state.tiers.keys import sortable
from src.state.tiers.postgres_log import PostgresLog
from src.swarm.rules.conversations import CONVERSATIONS
from tests.support.cluster_runtimes import (
    Database,
    Member,
    conversation_key,
    open_database,
    open_members,
)
from tests.support.cluster_settings import eventually

Pair = Sequence[Member]


@pytest.fixture
async def pair(database_url: str, redis_url: str) -> AsyncIterator[Pair]:
    async with open_members(database_url, redis_url, flush_debounce=0.4) as members:
        yield members


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url) as client:
        yield client


class Statements:
    """Counts what a server asks of the log, by wrapping the real methods."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = dict.fromkeys(("append", "find", "load", "tail", "save"), 0)
        for name in self.counts:
            monkeypatch.setattr(PostgresLog, name, self._counted(name, getattr(PostgresLog, name)))

    def _counted(self, name: str, method: Any) -> Any:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return await method(*arguments, **options)

        return counted

    def clear(self) -> None:
        self.counts = dict.fromkeys(self.counts, 0)

    @property
    def reads(self) -> int:
        return self.counts["load"] + self.counts["tail"]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


def clean(member: Member) -> Any:
    return lambda: member.count("dirty") == 0


def in_l2(redis: Any, version: Version) -> Any:
    """Whether L2 has this body as the newest: a flush puts it there after PostgreSQL has it."""

    async def holds() -> bool:
        held = await redis.hmget(conversation_key("c"), "v", "head")
        return [bytes(one or b"").decode() for one in held] == [sortable(version)] * 2

    return holds


async def test_write_on_one_server_is_read_on_the_other(pair: Pair) -> None:
    a, b = pair
    await a.create("c")
    for seq in range(2, 12):
        receipt = await a.say("c", f"turn {seq}")
        read = await b.read("c", at_least=receipt.version)
        assert read.entry.version == receipt.version
        assert read.stale_s is None
    await a.say("c", "without a token")

    async def seen() -> bool:
        read = await b.read("c")
        assert read.stale_s is None
        return read.entry.state.messages[-1].text == "without a token"

    await eventually(seen)


async def test_version_that_was_never_logged_is_behind(pair: Pair) -> None:
    a, b = pair
    receipt = await a.create("c")
    with pytest.raises(Behind):
        await b.read("c", at_least=Version(receipt.version.epoch, 99))


async def test_thousand_reads_of_a_cold_conversation_are_one_read_of_the_database(
    pair: Pair, statements: Statements, redis: Any
) -> None:
    a, b = pair
    await a.create("c")
    receipt = await a.say("c", "hello")
    await eventually(in_l2(redis, receipt.version))
    statements.clear()
    reads = await asyncio.gather(*(b.read("c") for _ in range(1000)))
    assert {read.entry.state.messages[-1].text for read in reads} == {"hello"}
    # The flush has put it into L2: not even one read of L3.
    assert statements.reads == 0
    assert b.store()["l2_hits"] == 1


async def test_thousand_reads_without_l2_are_one_read_of_the_database(
    pair: Pair, statements: Statements, redis: Any
) -> None:
    a, b = pair
    await a.create("c")
    await eventually(clean(a))
    await redis.delete(conversation_key("c"))
    statements.clear()
    reads = await asyncio.gather(*(b.read("c") for _ in range(1000)))
    assert {read.where for read in reads} == {Where.L3}
    assert statements.reads == 1


async def test_hit_in_l1_asks_no_store(pair: Pair, statements: Statements, redis: Any) -> None:
    a, b = pair
    await a.create("c")
    await eventually(clean(a))
    await b.read("c")
    statements.clear()
    loads = b.store()["l3_loads"]
    for _ in range(1000):
        assert b.service.peek("c") is not None
    assert (statements.reads, b.store()["l3_loads"]) == (0, loads)
    assert b.store()["l1_hits"] >= 1000


async def test_fifty_changes_are_one_snapshot_row(pair: Pair, database: Database) -> None:
    await database.count_snapshot_writes()
    a, _ = pair
    await a.create("c")
    for n in range(49):
        await a.say("c", f"turn {n}")
    await eventually(clean(a))
    assert await database.snapshot_writes("c") == 1
    assert await database.value("SELECT seq FROM snapshots WHERE conversation_id = 'c'") == 50


async def test_many_conversations_are_flushed_in_few_transactions(
    database_url: str, redis_url: str, statements: Statements
) -> None:
    async with open_members(database_url, redis_url, 1, flush_batch=50) as [a]:
        await asyncio.gather(*(a.create(f"c{n}") for n in range(200)))
        await eventually(clean(a))
        # Four full batches at least; more, since not all were created in the same moment.
        assert 4 <= statements.counts["save"] <= 100


async def test_at_rest_all_tiers_hold_the_fold_of_the_log(
    pair: Pair, database: Database, redis: Any
) -> None:
    a, b = pair
    await a.create("c")
    for n in range(30):
        await a.say("c", f"turn {n}")
    await eventually(clean(a))
    await b.read("c")
    events = await a.service.events("c", after=0, limit=1000)
    state = None
    for event in events:
        fact = CONVERSATIONS.decode_event(event.type, event.schema, event.body)
        state = CONVERSATIONS.fold(state, fact, event.meta)
    assert state is not None
    folded = CONVERSATIONS.encode_state(state)
    l1 = b.service.peek("c")
    assert l1 is not None
    assert b.service.body(l1) == folded
    assert await redis.hget(conversation_key("c"), "body") == folded
    snapshot = await database.value("SELECT body FROM snapshots WHERE conversation_id = 'c'")
    assert snapshot == folded
    assert await database.column("SELECT seq FROM events ORDER BY seq") == list(range(1, 32))


async def test_l2_keeps_bodies_for_fifteen_minutes(pair: Pair, redis: Any) -> None:
    a, _ = pair
    await a.create("c")
    await eventually(clean(a))

    async def stored() -> bool:
        return bool(await redis.hexists(conversation_key("c"), "body"))

    await eventually(stored)
    assert 890_000 < await redis.pttl(conversation_key("c")) <= 900_000


async def test_l2_keeps_the_newest_body(pair: Pair, redis: Any) -> None:
    a, b = pair
    await a.create("c")
    await b.read("c")
    receipt = await a.say("c", "newest")
    await eventually(in_l2(redis, receipt.version))


async def test_cleared_redis_loses_nothing(pair: Pair, redis: Any, database: Database) -> None:
    a, b = pair
    await a.create("c")
    await a.say("c", "before")
    await eventually(clean(a))
    await redis.flushdb()
    assert await b.texts("c") == ["before"]
    receipt = await a.say("c", "after")
    assert await b.texts("c", at_least=receipt.version) == ["before", "after"]
    await eventually(clean(a))

    async def seen() -> bool:
        return await b.texts("c") == ["before", "after"]

    await eventually(seen)
    assert await database.texts("c") == ["before", "after"]

    # L2 is an answer again: a fresh server finds the conversation there.
    async def head_is_back() -> bool:
        held = await redis.hmget(conversation_key("c"), "v", "head")
        return held[0] is not None and held[0] == held[1]

    await eventually(head_is_back)


async def test_body_of_another_life_of_redis_is_only_a_base(pair: Pair, redis: Any) -> None:
    a, b = pair
    await a.create("c")
    await a.say("c", "one")
    await eventually(clean(a))
    old = await redis.hgetall(conversation_key("c"))
    await redis.flushdb()
    await a.say("c", "two")
    # An old dump comes back under the old incarnation, with the head that was true then.
    await redis.delete(conversation_key("c"))
    await redis.hset(conversation_key("c"), mapping=old)
    read = await b.read("c")
    assert read.where is Where.L3
    assert [message.text for message in read.entry.state.messages] == ["one", "two"]


async def test_buffered_change_asks_nothing_before_the_flush(
    pair: Pair, statements: Statements, database: Database
) -> None:
    a, _ = pair
    await a.create("c")
    first = await a.say("c", "logged")
    await eventually(clean(a))
    statements.clear()
    for n in range(50):
        receipt = await a.say("c", f"buffered {n}", durability=Durability.BUFFERED)
        assert (receipt.version, receipt.durability) == (first.version, Durability.BUFFERED)
    assert sum(statements.counts.values()) == 0
    assert len(await a.texts("c")) == 50
    await eventually(clean(a))

    async def logged() -> bool:
        return len(await database.texts("c")) == 51

    await eventually(logged, within_s=6)
    assert statements.counts["append"] <= 2


async def test_history_read_from_zero_is_the_snapshot(pair: Pair, database: Database) -> None:
    a, b = pair
    await a.create("c")
    for n in range(20):
        await a.say("c", f"turn {n}")
    await eventually(clean(a))
    snapshot = (await b.read("c")).entry
    await database.value("DELETE FROM snapshots WHERE conversation_id = 'c'")
    rebuilt = await LogSource(CONVERSATIONS, a.service._log).load("c", None)
    assert rebuilt is not None
    assert (rebuilt.version, rebuilt.state) == (snapshot.version, snapshot.state)
