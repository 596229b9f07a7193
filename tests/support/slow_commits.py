"""A PostgreSQL that takes its time for every transaction, switched on and off while it runs.

A deferred trigger sleeps once per transaction that writes, when it commits: the client waits as it
does for a slow disk or a far standby, and row locks are held meanwhile. Reads are as fast as ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

WRITTEN = ("servers", "conversations", "events", "snapshots")
"""Beats, ownership, appends and flushes."""

_SLEEP = """
CREATE TABLE slowness (name text PRIMARY KEY, seconds float8 NOT NULL);
CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted float8 := (SELECT seconds FROM slowness WHERE name = TG_ARGV[0]);
BEGIN
    IF wanted > 0
        AND current_setting('slowness.taken', true) IS DISTINCT FROM txid_current()::text
    THEN
        PERFORM set_config('slowness.taken', txid_current()::text, true);
        PERFORM pg_sleep(wanted);
    END IF;
    RETURN NULL;
END $$;
"""
_TRIGGER = """
CREATE CONSTRAINT TRIGGER take_time AFTER INSERT OR UPDATE ON {table}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_time('{table}')
"""


class SlowCommits:
    """The switch. `install` it once into a database."""

    def __init__(self, database: asyncpg.Connection) -> None:
        self._database = database

    async def install(self) -> None:
        """Put the triggers in; commits are as fast as before until `slow`."""
        await self._database.execute(_SLEEP)
        for table in WRITTEN:
            await self._database.execute(_TRIGGER.format(table=table))
            await self._database.execute("INSERT INTO slowness VALUES ($1, 0)", table)

    async def slow(self, seconds: float, tables: Sequence[str] = WRITTEN) -> None:
        """Let each transaction that writes to these take that much longer from now on."""
        await self._database.execute(
            "UPDATE slowness SET seconds = $1 WHERE name = ANY($2)", seconds, tables
        )
