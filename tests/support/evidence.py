"""What stores and servers hold once all is quiet, read from outside: SQL, Redis and REST."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import aiohttp
import asyncpg
import msgspec
from redis.asyncio import Redis

from src.state.models import Event, Version
from src.state.tiers.keys import body_key, from_sortable
from src.swarm.rules.conversations import CONVERSATIONS, MESSAGE_ADDED
from src.swarm.shapes.models import ConversationState
from tests.support.cluster_settings import eventually
from tests.support.history import Logged
from tests.support.ledger import digest

_AT_ONCE = 16


class _Author(msgspec.Struct, frozen=True):
    id: str


class _Said(msgspec.Struct, frozen=True):
    author: _Author
    text: str


class _MessageAdded(msgspec.Struct, frozen=True):
    message: _Said


async def events_of(database: asyncpg.Connection) -> Sequence[Event]:
    """Return the whole log, by conversation and seq."""
    rows = await database.fetch(
        "SELECT conversation_id, epoch, seq, event_id, type, schema, body, actor, occurred_at "
        "FROM events ORDER BY conversation_id, seq"
    )
    return [Event(row[0], Version(row[1], row[2]), *tuple(row)[3:]) for row in rows]


def history_of(events: Sequence[Event]) -> Sequence[Logged]:
    """Return the log as the checker takes it, decoded without the product's own codec."""
    return [_logged(event) for event in events]


def _logged(event: Event) -> Logged:
    key, _, index = event.event_id.rpartition(":")
    if event.type != MESSAGE_ADDED:
        return Logged(event.aggregate_id, event.version, key)
    said = msgspec.json.decode(event.body, type=_MessageAdded).message
    # A second event of one command would be a turn too many, so it gets a key of its own.
    name = key if index == "0" else event.event_id
    return Logged(event.aggregate_id, event.version, name, said.author.id, digest(said.text))


async def all_flushed(database: asyncpg.Connection, within_s: float = 30.0) -> None:
    """Return once every conversation's snapshot is at the end of its log."""

    async def none_is_behind() -> bool:
        behind = await database.fetchval(
            "SELECT count(*) FROM conversations c "
            "LEFT JOIN snapshots s ON s.conversation_id = c.id WHERE s.seq IS DISTINCT FROM c.seq"
        )
        return bool(behind == 0)

    await eventually(none_is_behind, within_s, what="every conversation is flushed")


class Held(msgspec.Struct, frozen=True, gc=False):
    """A state as some place holds it."""

    version: Version
    body: bytes


class Folded(msgspec.Struct, frozen=True, gc=False):
    """What the log makes of a conversation: `body` at the end, and one at each asked version."""

    version: Version
    state: ConversationState
    body: bytes
    on_the_way: dict[Version, bytes]


def fold(events: Sequence[Event], wanted: Sequence[Version] = ()) -> Folded:
    """Fold one conversation's log from its first event."""
    state: Any = None
    on_the_way = {}
    for event in events:
        fact = CONVERSATIONS.decode_event(event.type, event.schema, event.body)
        state = CONVERSATIONS.fold(state, fact, event.meta)
        if event.version in wanted:
            on_the_way[event.version] = CONVERSATIONS.encode_state(state)
    assert state is not None, "a conversation begins with an event"
    return Folded(events[-1].version, state, CONVERSATIONS.encode_state(state), on_the_way)


async def disagreements(
    database: asyncpg.Connection,
    redis_url: str,
    urls: Sequence[str],
    token: str,
    events: Sequence[Event],
) -> tuple[list[str], int]:
    """Compare fold(events) with L3's snapshot, L2's body and each server's answer (I4).

    An L2 body below its head is no answer to anybody, but it must be the state at its own version.

    Returns:
        What differs, and how many L2 bodies are at the end of their log.
    """
    snapshots = await _snapshots(database)
    copies = await _copies(redis_url, sorted({event.aggregate_id for event in events}))
    differing, at_the_end = [], 0
    limit = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for id, history in _conversations(events):
            copy = copies.get(id)
            folded = fold(history, () if copy is None else (copy.version,))
            expected = Held(folded.version, folded.body)
            if snapshots.get(id) != expected:
                differing.append(f"{id}: the snapshot is not fold(events)")
            if copy is not None:
                at_the_end += copy == expected
                if folded.on_the_way.get(copy.version) != copy.body:
                    differing.append(f"{id}: L2 at {copy.version.token} is not the log's prefix")
            answers = await asyncio.gather(*(_ask(session, limit, url, id) for url in urls))
            for url, answer in zip(urls, answers, strict=True):
                if answer != expected:
                    differing.append(f"{id}: {url} does not answer fold(events)")
    return differing, at_the_end


def _conversations(events: Sequence[Event]) -> Iterator[tuple[str, Sequence[Event]]]:
    for id, history in groupby(events, key=lambda event: event.aggregate_id):
        yield id, list(history)


async def _snapshots(database: asyncpg.Connection) -> dict[str, Held]:
    rows = await database.fetch("SELECT conversation_id, epoch, seq, body FROM snapshots")
    return {row[0]: Held(Version(row[1], row[2]), row[3]) for row in rows}


async def _copies(redis_url: str, ids: Sequence[str]) -> dict[str, Held]:
    async with Redis.from_url(redis_url) as client:
        pipeline = client.pipeline(transaction=False)
        for id in ids:
            pipeline.hmget(body_key(CONVERSATIONS.name, id), ["v", "body"])
        found = await pipeline.execute()
    return {
        id: Held(from_sortable(version), body)
        for id, (version, body) in zip(ids, found, strict=True)
        if version is not None and body is not None
    }


async def _ask(
    session: aiohttp.ClientSession, limit: asyncio.Semaphore, url: str, id: str
) -> Held | str:
    async with limit, session.get(f"{url}/api/v1/conversations/{id}") as response:
        body = await response.read()
        if response.status != 200:
            return f"{response.status} {body[:200]!r}"
        return Held(Version.parse(response.headers["X-Swarm-Version"]), body)
