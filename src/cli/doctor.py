"""`swarmstate doctor`: is this PostgreSQL, is this Redis fit to keep the promises?

Each check names what it found and what is at stake. `fail` means that a promise does not hold on
these stores; `warn` that one holds only as long as nothing else goes wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import asyncpg
import msgspec
from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from src.state.tiers.migrations import SCRIPTS
from src.state.tiers.urls import masked

Verdict = Literal["ok", "warn", "fail"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_POSTGRES_SINCE = 150_000
_REDIS_SINCE = 7
_CLOCK_S = 2.0
_CONNECT_S = 5.0

_STYLES: dict[Verdict, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One check."""

    check: str
    verdict: Verdict
    found: str
    stake: str = ""
    """What a bad answer means, and what to do."""


async def examine(database_url: str, redis_url: str) -> list[Finding]:
    """Check both stores; one that does not answer is a finding too."""
    return [*await _postgres(database_url), *await _redis(redis_url)]


def show(findings: list[Finding], console: Console) -> None:
    """Print the findings as a table."""
    table = Table("", "check", Column("found", overflow="fold"), "at stake")
    for one in findings:
        mark = Text(one.verdict, _STYLES[one.verdict])
        table.add_row(mark, one.check, one.found, "" if one.verdict == "ok" else one.stake)
    console.print(table)


def healthy(findings: list[Finding]) -> bool:
    """Say whether no check failed."""
    return all(one.verdict != "fail" for one in findings)


# -- PostgreSQL ----------------------------------------------------------------------------------


async def _postgres(url: str) -> list[Finding]:
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        found = f"{masked(url)}: {str(error) or type(error).__name__}"
        stake = "check that it runs and that SWARMSTATE_DATABASE_URL is right"
        return [Finding("PostgreSQL answers", "fail", found, stake)]
    try:
        rows = await connection.fetch("SELECT name, setting FROM pg_settings")
        settings = {row["name"]: row["setting"] for row in rows}
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return [
            Finding("PostgreSQL answers", "ok", masked(url)),
            *postgres_settings(settings),
            clock("PostgreSQL", (now - datetime.now(UTC)).total_seconds()),
            await _revision(connection),
        ]
    finally:
        await connection.close()


def postgres_settings(settings: Mapping[str, str]) -> list[Finding]:
    """Judge pg_settings."""
    standbys = settings["synchronous_standby_names"]
    return [
        _judge(
            "PostgreSQL version",
            settings["server_version"],
            int(settings["server_version_num"]) >= _POSTGRES_SINCE,
            "15 or newer is needed",
        ),
        _judge(
            "isolation",
            settings["default_transaction_isolation"],
            settings["default_transaction_isolation"] == "read committed",
            "a takeover could miss an append that it waited for; run `swarmstate migrate`",
        ),
        _judge(
            "synchronous_commit",
            settings["synchronous_commit"],
            settings["synchronous_commit"] != "off",
            "a crash of PostgreSQL loses turns that were acknowledged; set it to on",
        ),
        _judge(
            "fsync",
            settings["fsync"],
            settings["fsync"] == "on",
            "a power cut loses acknowledged turns and may break the database; set it to on",
        ),
        _judge(
            "full_page_writes",
            settings["full_page_writes"],
            settings["full_page_writes"] == "on",
            "a power cut may leave half-written pages; set it to on",
        ),
        _judge(
            "synchronous standby",
            standbys or "none",
            bool(standbys),
            "a failover to an asynchronous standby can lose the last acknowledged turns; a "
            "single server without failover needs none",
            otherwise="warn",
        ),
    ]


async def _revision(connection: Connection) -> Finding:
    head = ScriptDirectory(str(SCRIPTS)).get_current_head()
    known = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
    present = (
        await connection.fetchval("SELECT version_num FROM alembic_version") if known else None
    )
    found = f"{present or 'no tables'}, this release is {head}"
    return _judge("schema", found, present == head, "run `swarmstate migrate`")


# -- Redis ---------------------------------------------------------------------------------------


async def _redis(url: str) -> list[Finding]:
    try:
        async with Redis.from_url(
            url, socket_connect_timeout=_CONNECT_S, socket_timeout=_CONNECT_S
        ) as client:
            info: dict[str, Any] = await client.info()
            seconds, microseconds = await client.time()
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        found = f"{masked(url)}: {str(error) or type(error).__name__}"
        stake = "check that it runs and that SWARMSTATE_REDIS_URL is right"
        return [Finding("Redis answers", "fail", found, stake)]
    return [
        Finding("Redis answers", "ok", masked(url)),
        *redis_info(info),
        clock("Redis", seconds + microseconds / 1e6 - time.time()),
    ]


def redis_info(info: Mapping[str, Any]) -> list[Finding]:
    """Judge what INFO says."""
    valkey = info.get("valkey_version")
    version = str(info["redis_version"])
    policy = str(info.get("maxmemory_policy", "unknown"))
    return [
        _judge(
            "Redis version",
            f"Valkey {valkey}, as Redis {version}" if valkey else version,
            int(version.split(".")[0]) >= _REDIS_SINCE,
            "7.0 or newer is needed",
        ),
        _judge(
            "eviction policy",
            policy,
            policy in ("noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl"),
            "the numbers of the bus may be evicted like any cache entry, which clears caches over "
            "and over; set maxmemory-policy to volatile-lru",
        ),
    ]


# -- both ----------------------------------------------------------------------------------------


def clock(store: str, ahead_s: float) -> Finding:
    """Judge how far a store's clock is ahead of ours, in seconds."""
    return _judge(
        f"clock of {store}",
        f"{ahead_s:+.2f} s",
        abs(ahead_s) <= _CLOCK_S,
        "no promise rests on clocks, but times that people see will not fit together; use NTP",
        otherwise="warn",
    )


def _judge(
    check: str, found: str, good: bool, stake: str, *, otherwise: Verdict = "fail"
) -> Finding:
    return Finding(check, "ok" if good else otherwise, found, stake)
