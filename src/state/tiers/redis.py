"""L2: bodies in Redis, shared by all servers.

Each id has one hash {v, inc, schema, body, head}. `head` is the highest version ever announced;
a body at its head and of the present incarnation is an answer, any other only a base to build on.
Commands stay within Redis 7.0.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from src.state.errors import SharedTierUnavailable
from src.state.guards import ALL_ON, Guards
from src.state.protocols import SharedCopy, Snapshot, Trip, open_way
from src.state.settings import StateSettings
from src.state.tiers.incarnations import Incarnations
from src.state.tiers.keys import (
    PREFIX,
    REARMED_KEY,
    body_key,
    from_sortable,
    partition_of,
    sortable,
)
from src.state.tiers.transports import answered
from src.state.tiers.urls import masked

# redis-py's stubs leave the client's type parameter open.
Client = Redis


_CONNECTIONS = 64


def answering() -> AbstractContextManager[None]:
    """Turn every failure of Redis into SharedTierUnavailable."""
    return answered((RedisError, OSError, TimeoutError), SharedTierUnavailable, "Redis")


class Script:
    """A Lua script that is sent by its hash, and whole when the server has forgotten it."""

    def __init__(self, source: str) -> None:
        self.source = source
        # SHA-1 is Redis's name for the script, no protection.
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def read(cls, package: str, name: str) -> Script:
        return cls(files(package).joinpath("scripts", name).read_text(encoding="utf-8"))


async def run_scripts(
    client: Client, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
) -> list[Any]:
    """Run one script for each (keys, arguments) in one round trip; replies in order.

    Raises:
        SharedTierUnavailable: Redis did not answer all of them.
    """
    with answering():
        try:
            return await _send(client, script, calls)
        except NoScriptError:
            await client.script_load(script.source)
            return await _send(client, script, calls)


async def _send(
    client: Client, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
) -> list[Any]:
    if len(calls) == 1:
        keys, arguments = calls[0]
        return [await client.evalsha(script.sha, len(keys), *keys, *arguments)]
    pipeline = client.pipeline(transaction=False)
    for keys, arguments in calls:
        pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
    return list(await pipeline.execute())


@asynccontextmanager
async def open_redis(settings: StateSettings, *, alone: bool = False) -> AsyncIterator[Client]:
    """Open a client with its pool, or with one connection `alone`; close it at the block's end.

    Raises:
        SharedTierUnavailable: Redis does not answer now, or refuses the password.
    """
    url = settings.redis_url.get_secret_value()
    seconds = settings.redis_timeout.total_seconds()
    client = Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # Failure policy lives with the callers: a retry here would hide a restart of Redis.
        retry=Retry(NoBackoff(), 0),
        max_connections=_CONNECTIONS,
        single_connection_client=alone,
    )
    try:
        try:
            await client.ping()
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            raise SharedTierUnavailable(
                f"no connection to Redis at {masked(url)}: {error}. Check that it runs and that "
                "host, port and password in SWARMSTATE_REDIS_URL are right, or unset it to let "
                "swarmstate start its own"
            ) from error
        yield client
    finally:
        await client.aclose()


_PUT = Script.read("src.state.tiers", "put.lua")
_PUT_ANY = Script(_PUT.source.replace("local newer =", "local newer = true or"))
_FIELDS = ("v", "head", "inc", "schema", "body")
_SCANNED = 1000
"""Keys looked at in one trip of a walk over all of them."""


class RedisTier:
    """`SharedTier` on one Redis."""

    def __init__(
        self,
        client: Client,
        incarnations: Incarnations,
        settings: StateSettings,
        *,
        way: Trip = open_way,
        guards: Guards = ALL_ON,
    ) -> None:
        self._client = client
        self._way = way
        # The client's pool sends away whoever finds it empty, and without L3 a body that is not
        # read here is not read at all: a crowd waits for its turn.
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._put = _PUT if guards.newer else _PUT_ANY
        self._incarnations = incarnations
        self._ttl_ms = int(settings.l2_ttl.total_seconds() * 1000)

    async def get(self, kind: str, id: str) -> SharedCopy | None:
        async with self._way(), self._turns:
            with answering():
                # Bytes or None: the client is opened without decoding; its stubs cannot say so.
                fields: list[Any] = await self._client.hmget(body_key(kind, id), list(_FIELDS))
        version, head, incarnation, schema, body = fields
        if body is None or version is None:
            return None
        known = self._incarnations.of(id)
        current = version == head and known != "" and incarnation == known.encode()
        return SharedCopy(
            Snapshot(id, from_sortable(version), int(schema), body, incarnation.decode()), current
        )

    async def put(self, kind: str, snapshots: Sequence[Snapshot]) -> int:
        parts: dict[int, list[Snapshot]] = defaultdict(list)
        for snapshot in snapshots:
            parts[partition_of(snapshot.id)].append(snapshot)
        calls = [
            (
                [body_key(kind, one.id) for one in part],
                [self._ttl_ms, *(field for one in part for field in _fields(one))],
            )
            for part in parts.values()
        ]
        if not calls:
            return 0
        async with self._way(), self._turns:
            return sum(await run_scripts(self._client, self._put, calls))

    async def delete(self, kind: str, ids: Sequence[str]) -> None:
        async with self._way(), self._turns:
            with answering():
                pipeline = self._client.pipeline(transaction=False)
                for id in ids:
                    pipeline.hdel(body_key(kind, id), "v", "inc", "schema", "body")
                await pipeline.execute()

    async def rearm(self) -> int | None:
        async with self._way(), self._turns:
            quarter = self._ttl_ms // 4
            with answering():
                # Claimed before it is done: one server walks for all of them.
                claimed = await self._client.set(REARMED_KEY, 1, nx=True, px=max(1, quarter))
            if not claimed:
                return None
        held: int = 0
        cursor: int = 0
        while True:
            # A trip each: a store of any size is walked without any wait growing long.
            async with self._way(), self._turns:
                with answering():
                    cursor, names = await self._client.scan(cursor, f"{PREFIX}:*", _SCANNED)
                    pipeline = self._client.pipeline(transaction=False)
                    for name in names:
                        # XX: the counters and streams of the bus, which never expire, stay so.
                        pipeline.pexpire(name, self._ttl_ms, xx=True)
                    held += sum(await pipeline.execute())
            if not cursor:
                return held


def _fields(snapshot: Snapshot) -> tuple[str, str, int, bytes]:
    return snapshot.incarnation, sortable(snapshot.version), snapshot.schema, snapshot.body
