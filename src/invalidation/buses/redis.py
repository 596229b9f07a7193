"""The bus on Redis: one script numbers, keeps and broadcasts; a capped stream replays."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from src.invalidation.messages import Message, decode_message, encode_changes
from src.invalidation.protocols import Position
from src.state.errors import SharedTierUnavailable
from src.state.models import Announcement
from src.state.protocols import Trip, open_way
from src.state.settings import StateSettings
from src.state.tiers.keys import PARTITIONS, body_key, bus_key, partition_of, sortable, stream_key
from src.state.tiers.redis import Script, answering, run_scripts

_ANNOUNCE = Script.read("src.invalidation.buses", "announce.lua")
_RENEW = Script.read("src.invalidation.buses", "renew.lua")
_KEPT = 10_000
_CHANNELS = {stream_key(p).encode(): p for p in range(PARTITIONS)}


class RedisBus:
    """`Bus` on one Redis.

    `line` has one connection, for announcements, which every ack waits for; `pulls` is a client of
    its own too, so that neither queues behind other work. Announcements go by `way`; pulls and the
    subscription find out whether it is open.
    """

    def __init__(
        self, line: Redis, pulls: Redis, settings: StateSettings, *, way: Trip = open_way
    ) -> None:
        self._line = line
        self._way = way
        self._pulls = pulls
        seed = uuid.uuid4().hex
        self._names = (f"{seed}{n}" for n in itertools.count())
        """Incarnations to come, each used at most once."""
        self._ttl_ms = int(settings.l2_ttl.total_seconds() * 1000)
        self._silence_s = settings.redis_timeout.total_seconds()

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        parts: dict[int, list[Announcement]] = defaultdict(list)
        for change in changes:
            parts[partition_of(change.id)].append(change)
        calls = []
        for partition, part in parts.items():
            keys = [bus_key(partition), stream_key(partition)]
            keys += [body_key(change.kind, change.id) for change in part]
            arguments: list[bytes | str | int] = [
                encode_changes(origin, tuple(part)),
                self._ttl_ms,
                _KEPT,
                next(self._names),
            ]
            arguments += [sortable(change.version) for change in part]
            calls.append((keys, arguments))
        if calls:
            async with self._way():
                await run_scripts(self._line, _ANNOUNCE, calls)

    async def renew(self) -> None:
        calls = [
            ([bus_key(partition), stream_key(partition)], [next(self._names)])
            for partition in range(PARTITIONS)
        ]
        async with self._way():
            await run_scripts(self._pulls, _RENEW, calls)

    async def positions(self) -> Sequence[Position]:
        with answering():
            pipeline = self._pulls.pipeline(transaction=False)
            pipeline.info("server")
            for partition in range(PARTITIONS):
                # Made when missing: after a FLUSHALL a fresh number must differ from the old one.
                pipeline.hsetnx(bus_key(partition), "inc", next(self._names))
                pipeline.hmget(bus_key(partition), "inc", "n")
            replies = await pipeline.execute()
        if any(incarnation is None for incarnation, _ in replies[2::2]):
            raise SharedTierUnavailable("Redis was cleared while it was asked; ask again")
        run_id = replies[0]["run_id"]
        positions = []
        for incarnation, n in replies[2::2]:
            # A restart from an old dump brings the number back, but not the run id.
            positions.append(Position(f"{incarnation.decode()}:{run_id}", int(n or 0)))
        return positions

    async def replay(self, partition: int, after: int, upto: int) -> Sequence[Message] | None:
        with answering():
            # The client is opened without decoding; its stubs cannot say that all here is bytes.
            rows: Any = await self._pulls.xrange(
                stream_key(partition), min=f"{after + 1}-1", max=f"{upto}-1"
            )
        messages = [decode_message(partition, fields[b"m"]) for _, fields in rows]
        complete = [message.n for message in messages] == list(range(after + 1, upto + 1))
        return messages if complete else None

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Message]]:
        pubsub = self._pulls.pubsub()
        try:
            with answering():
                await pubsub.subscribe(*(channel.decode() for channel in _CHANNELS))
                for _ in _CHANNELS:
                    await pubsub.get_message(timeout=self._silence_s)
            yield self._messages(pubsub)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    async def _messages(self, pubsub: PubSub) -> AsyncIterator[Message]:
        asked = False
        while True:
            with answering():
                raw = await pubsub.get_message(timeout=self._silence_s)
                if raw is None and asked:
                    raise SharedTierUnavailable("the subscription does not answer")
                if raw is None:
                    await pubsub.ping()
            asked = raw is None
            if raw is not None and raw["type"] == "message":
                yield decode_message(_CHANNELS[raw["channel"]], raw["data"])
