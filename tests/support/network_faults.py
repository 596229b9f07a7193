"""Faults of the ways to the stores, under a crowd: each is one round, which tests and acts repeat.

The servers reach PostgreSQL and Redis through proxies; the judges, and who counts, do not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from tests.support.cluster_processes import QUICK
from tests.support.cluster_settings import eventually
from tests.support.ledger import Away
from tests.support.postgres_proxy import Moment, PostgresProxy
from tests.support.proxies import RedisProxy, open_proxy
from tests.support.stage import Stage, open_stage

_MET_WITHIN_S = 30.0
APPENDS, SNAPSHOTS = "INSERT INTO events", "INSERT INTO snapshots"
"""What a commit to be met writes."""


class Network(msgspec.Struct, frozen=True):
    """A stage and the ways from its servers to the stores."""

    stage: Stage
    postgres: PostgresProxy
    redis: RedisProxy


Round = Callable[[Network], Awaitable[None]]


@asynccontextmanager
async def open_network(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    more: Mapping[str, str] = {},
    **given: Any,
) -> AsyncIterator[Network]:
    """Open a stage (`given` is for it) whose servers, with `more` settings, are behind proxies."""
    async with (
        open_proxy(PostgresProxy(database_url)) as postgres,
        open_proxy(RedisProxy(redis_url)) as redis,
        open_stage(
            database_url,
            redis_url,
            folder,
            settings={
                **QUICK,
                **more,
                "SWARMSTATE_DATABASE_URL": postgres.url,
                "SWARMSTATE_REDIS_URL": redis.url,
            },
            **given,
        ) as stage,
    ):
        assert postgres.connections, "the servers reach PostgreSQL by the proxy"
        assert redis.connections, "the servers reach Redis by the proxy"
        try:
            yield Network(stage, postgres, redis)
        finally:
            # Servers drain through the proxies: whatever a failed round left must be gone.
            postgres.restore()
            redis.restore()


async def meet_commit(network: Network, moment: Moment, writing: str) -> None:
    """Reset the connection of one commit, with a crowd in flight."""
    await network.stage.troubles.crowd()
    async with network.stage.troubles.strikes(f"reset_{moment.name.lower()}"):
        network.postgres.reset_commits(moment, writing=writing)
        await eventually(
            lambda: not network.postgres.armed, _MET_WITHIN_S, what=f"a commit of {writing} is met"
        )


async def _for_a_while(
    network: Network, name: str, begin: Callable[[], None], end: Callable[[], None], lasts_s: float
) -> None:
    await network.stage.troubles.crowd()
    async with network.stage.troubles.strikes(name):
        begin()
        await asyncio.sleep(lasts_s)
        end()


async def without_subscriptions(network: Network, lasts_s: float = 4.0) -> None:
    """Cut the subscriptions alone: for longer than an answer may be stale."""
    redis = network.redis
    await _for_a_while(network, "subs_cut", redis.cut_subscriptions, redis.restore, lasts_s)


async def deaf_subscriptions(network: Network, lasts_s: float = 4.0) -> None:
    """Let subscriptions stand and hear nothing: no error tells the servers."""
    redis = network.redis
    await _for_a_while(network, "subs_deaf", redis.silence_subscriptions, redis.restore, lasts_s)


async def half_open_redis(network: Network, lasts_s: float = 4.0) -> None:
    """Have Redis taken away without a word."""
    redis = network.redis
    await _for_a_while(network, "redis_half_open", redis.half_open, redis.restore, lasts_s)


async def cut_redis(network: Network, lasts_s: float = 3.0) -> None:
    """Have Redis refuse everybody."""
    redis = network.redis
    await _for_a_while(network, "redis_cut", redis.cut, redis.restore, lasts_s)


async def half_open_postgres(network: Network, lasts_s: float = 4.0) -> None:
    """Have PostgreSQL taken away without a word, for longer than a statement may take."""
    await _without_postgres(network, "postgres_half_open", network.postgres.half_open, lasts_s)


async def cut_postgres(network: Network, lasts_s: float = 3.0) -> None:
    """Have PostgreSQL refuse everybody."""
    await _without_postgres(network, "postgres_cut", network.postgres.cut, lasts_s)


async def _without_postgres(
    network: Network, name: str, begin: Callable[[], None], lasts_s: float
) -> None:
    """Take PostgreSQL away from the servers, and record it: nothing may be acked as logged."""
    began = 0.0

    def end() -> None:
        network.stage.ledger.write(Away(began, time.monotonic()))
        network.postgres.restore()

    def begin_at() -> None:
        nonlocal began
        begin()
        began = time.monotonic()

    await _for_a_while(network, name, begin_at, end, lasts_s)


async def slow_commits(network: Network, each_s: float = 0.5, lasts_s: float = 4.0) -> None:
    """Have the answer to every commit take its time: beats, appends and flushes alike."""
    postgres = network.postgres

    def begin() -> None:
        postgres.commits_wait_s = each_s

    await _for_a_while(network, "slow_commits", begin, postgres.restore, lasts_s)


async def far_stores(network: Network, each_way_s: float = 0.02, lasts_s: float = 4.0) -> None:
    """Have both stores far away."""

    def delay(seconds: float) -> None:
        for proxy in (network.postgres, network.redis):
            proxy.there_s = proxy.back_s = seconds

    await _for_a_while(
        network, "far_stores", partial(delay, each_way_s), partial(delay, 0.0), lasts_s
    )


ROUNDS: Mapping[str, Round] = {
    "reset-before": partial(meet_commit, moment=Moment.BEFORE, writing=APPENDS),
    "reset-during": partial(meet_commit, moment=Moment.DURING, writing=APPENDS),
    "reset-after": partial(meet_commit, moment=Moment.AFTER, writing=APPENDS),
    "reset-flush-before": partial(meet_commit, moment=Moment.BEFORE, writing=SNAPSHOTS),
    "reset-flush-after": partial(meet_commit, moment=Moment.AFTER, writing=SNAPSHOTS),
    "subscriptions-cut": without_subscriptions,
    "subscriptions-deaf": deaf_subscriptions,
    "redis-half-open": half_open_redis,
    "redis-cut": cut_redis,
    "postgres-half-open": half_open_postgres,
    "postgres-cut": cut_postgres,
    "postgres-slow": slow_commits,
    "far-stores": far_stores,
}
