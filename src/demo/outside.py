"""Counts what the servers do without asking them: from PostgreSQL, from Redis, from the log.

PostgreSQL's counters are pg_stat_user_tables. A backend reports at the end of a statement, but at
most once a second; what it keeps back it reports with its next statement, or when it was idle for
10 s. So a measurement begins when all is `settled`: then the first statement of any backend shows
at once, "none at all" can be believed, and sums over many reads are waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeAlias

import asyncpg
import msgspec
from redis.asyncio import Redis

from src.demo.client import Acked
from src.demo.errors import NotAnswered
from src.state.tiers.keys import body_key

_REPORT_S = 1.2
"""A backend that reported this long ago reports its next statement at once."""
_SETTLED_S = 10.5
"""A backend that is idle has reported everything after this long."""
_POLL_S = 0.02
_COUNT_SNAPSHOT_WRITES = """
CREATE TABLE demo_snapshot_writes (conversation_id text NOT NULL);
CREATE FUNCTION demo_count() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO demo_snapshot_writes VALUES (NEW.conversation_id); RETURN NULL; END $$;
CREATE TRIGGER demo_count AFTER INSERT OR UPDATE ON snapshots
    FOR EACH ROW EXECUTE FUNCTION demo_count();
"""
"""An exact count at once, which the statistics cannot give for writes that follow each other."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Work that the stores did for reads and writes of conversations."""

    database_reads: int
    """Scans of snapshots, log and heads, together."""
    snapshot_reads: int
    """Scans of snapshots: each load of a cold conversation makes one."""
    redis_commands: int
    """All commands, those inside scripts too, but those of the pulls and of new connections."""

    def since(self, earlier: Counts) -> Counts:
        """Return the difference, field by field."""
        return Counts(
            self.database_reads - earlier.database_reads,
            self.snapshot_reads - earlier.snapshot_reads,
            self.redis_commands - earlier.redis_commands,
        )


class Logged(msgspec.Struct, frozen=True, gc=False):
    """One row of the log."""

    epoch: int
    seq: int
    event_id: str
    type: str
    text: str
    """What was said, if it is a turn."""


class Outside:
    """The stores, looked at with clients of our own."""

    def __init__(self, database: Connection, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    # -- counters --------------------------------------------------------------------------------

    async def settled(self, patience_s: float) -> Counts:
        """Wait until no backend keeps anything back; return the counts.

        Raises:
            NotAnswered: somebody goes on working.
        """
        deadline = time.perf_counter() + patience_s
        counts, since = await self.counts(), time.perf_counter()
        while time.perf_counter() - since < _SETTLED_S:
            if time.perf_counter() > deadline:
                raise NotAnswered(f"the database was not left alone for {patience_s:.0f} s")
            await asyncio.sleep(_REPORT_S / 4)
            latest = await self.counts()
            if latest.database_reads != counts.database_reads:
                counts, since = latest, time.perf_counter()
        return await self.counts()

    async def pause(self) -> None:
        """Wait until every backend would report its next statement at once."""
        await asyncio.sleep(_REPORT_S)

    async def counts(self) -> Counts:
        """Return the counts of now."""
        await self._database.execute("SELECT pg_stat_clear_snapshot()")
        rows = await self._database.fetch(
            "SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) AS scans "
            "FROM pg_stat_user_tables "
            "WHERE relname = 'snapshots' OR relname = 'conversations' OR relname ~ '^events_p'"
        )
        scans = {row["relname"]: row["scans"] for row in rows}
        commands = await self._commands()
        # A pull asks for INFO and for all partitions, with an HSETNX and an HMGET each.
        beside = ("info", "hsetnx", "ping", "hello", "auth", "select", "subscribe")
        work = sum(
            calls
            for name, calls in commands.items()
            if name not in beside and not name.startswith(("client", "command"))
        )
        work -= commands.get("hsetnx", 0)
        return Counts(sum(scans.values()), scans.get("snapshots", 0), work)

    async def _commands(self) -> dict[str, int]:
        info: dict[str, Any] = await self._redis.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in info.items()}

    async def until_read(self, before: Counts, reads: int, patience_s: float) -> int:
        """Return the scans of snapshots since `before`, once there are that many or time is up."""
        deadline = time.perf_counter() + patience_s
        while True:
            found = (await self.counts()).since(before).snapshot_reads
            if found >= reads or time.perf_counter() > deadline:
                return found
            await asyncio.sleep(_POLL_S)

    async def snapshot_writes(self, conversation_id: str) -> int:
        """Return how often the conversation's snapshot was written."""
        found: int = await self._database.fetchval(
            "SELECT count(*) FROM demo_snapshot_writes WHERE conversation_id = $1", conversation_id
        )
        return found

    # -- faults ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def writes_to_redis_held(self, seconds: float) -> AsyncIterator[None]:
        """Have Redis answer no write for the length of the block, or until the time is up."""
        await self._redis.client_pause(round(seconds * 1000), all=False)
        try:
            yield
        finally:
            await self._redis.client_unpause()

    # -- rows ------------------------------------------------------------------------------------

    async def head(self, conversation_id: str) -> tuple[int, int]:
        """Return the (epoch, seq) that the present owner stands on."""
        row = await self._database.fetchrow(
            "SELECT epoch, seq FROM conversations WHERE id = $1", conversation_id
        )
        if row is None:
            raise NotAnswered(f"conversation {conversation_id} is not in the database")
        return row["epoch"], row["seq"]

    async def new_epoch(
        self, conversation_id: str, old: int, patience_s: float
    ) -> tuple[int, int] | None:
        """Return the head once its epoch is above `old`; None if nobody took over in time."""
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            head = await self.head(conversation_id)
            if head[0] > old:
                return head
            await asyncio.sleep(_POLL_S)
        return None

    async def snapshots_at_head(self, ids: Sequence[str], patience_s: float) -> bool:
        """Wait until the snapshots of all these conversations are as new as their logs."""
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            behind = await self._database.fetchval(
                "SELECT count(*) FROM conversations c LEFT JOIN snapshots s "
                "ON s.conversation_id = c.id WHERE c.id = ANY($1) AND s.seq IS DISTINCT FROM c.seq",
                ids,
            )
            if not behind:
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def log(self, conversation_id: str) -> list[Logged]:
        """Return the whole log of a conversation, in order."""
        rows = await self._database.fetch(
            "SELECT epoch, seq, event_id, type, "
            "convert_from(body, 'UTF8')::jsonb #>> '{message,text}' AS text "
            "FROM events WHERE conversation_id = $1 ORDER BY seq",
            conversation_id,
        )
        return [
            Logged(row["epoch"], row["seq"], row["event_id"], row["type"], row["text"] or "")
            for row in rows
        ]

    async def all_flushed(self, patience_s: float) -> bool:
        """Wait until no conversation has events beyond its snapshot."""
        ids = [row["id"] for row in await self._database.fetch("SELECT id FROM conversations")]
        return await self.snapshots_at_head(ids, patience_s)

    async def in_l2(self, ids: Sequence[str], patience_s: float) -> bool:
        """Wait until Redis holds the bodies of all these conversations."""
        deadline = time.perf_counter() + patience_s
        while time.perf_counter() < deadline:
            held = [await self._redis.hexists(_key(id), "body") for id in ids]
            if all(held):
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def drop_from_l2(self, ids: Sequence[str]) -> None:
        """Delete the bodies, as an eviction would."""
        for id in ids:
            await self._redis.delete(_key(id))


def faults(turns: Sequence[Acked], log: Sequence[Logged]) -> list[str]:
    """Return what is wrong with a log, given what was acknowledged; nothing if all is well.

    Each acknowledged turn has to be there once, at the version of its ack, with its text; each
    author's turns in order; numbers without a gap, epochs never falling.
    """
    wrong = []
    rows: dict[str, list[Logged]] = {}
    for row in log:
        rows.setdefault(row.event_id, []).append(row)
    newest: dict[str, int] = {}
    for turn in turns:
        found = rows.get(f"{turn.key}:0", [])
        if len(found) != 1:
            wrong.append(f"turn {turn.key} is there {len(found)} times")
            continue
        row = found[0]
        if row.text != turn.text:
            wrong.append(f"turn {turn.key} has another text")
        if (row.epoch, row.seq) != turn.version:
            wrong.append(f"turn {turn.key} was acked as {turn.version}, is {row.epoch}.{row.seq}")
        if row.seq <= newest.get(turn.author, 0):
            wrong.append(f"turn {turn.key} of {turn.author} is out of order")
        newest[turn.author] = row.seq
    if [row.seq for row in log] != list(range(1, len(log) + 1)):
        wrong.append("the numbers of the log have gaps")
    if any(later.epoch < row.epoch for row, later in pairwise(log)):
        wrong.append("an older epoch follows a newer one")
    return wrong


@asynccontextmanager
async def look_from_outside(database_url: str, redis_url: str) -> AsyncIterator[Outside]:
    """Open clients of our own on both stores."""
    # The migration limits the role to what a server may take; we only look.
    database = await asyncpg.connect(database_url, server_settings={"statement_timeout": "0"})
    try:
        await database.execute(_COUNT_SNAPSHOT_WRITES)
        async with Redis.from_url(redis_url) as redis:
            yield Outside(database, redis)
    finally:
        await database.close()


def _key(conversation_id: str) -> str:
    return body_key("conversation", conversation_id)
