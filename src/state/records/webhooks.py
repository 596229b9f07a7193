"""Webhooks: who is told of changes by HTTP, how far each one has been told, and every try.

A webhook is a row with a place in the outbox. Only the leader of the relay moves it, and each move
is fenced by its term in the same statement: a leader that was paused can deliver a message once
more, and never put a place back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from src.state.models import Term
from src.state.tiers.postgres import Pool
from src.state.tiers.postgres_duties import FENCE

Status = Literal["delivered", "retrying", "failed"]

_COLUMNS = """
    id, url, kinds, ids, active, secret,
    CASE WHEN rotated_at > now() - interval '1 day' THEN previous_secret END AS previous_secret,
    position, attempts, coalesce(extract(epoch FROM now() - failing_since), 0)::float8 AS failing_s,
    next_try, reason, version, created_by, created_at, updated_at
"""

_CREATE = f"""
INSERT INTO webhooks (id, url, kinds, ids, active, secret, position, version, created_by)
SELECT $1, $2, $3, $4, $5, $6, coalesce((SELECT max(position) FROM outbox), 0), 1, $7
WHERE (SELECT count(*) FROM webhooks) < $8
ON CONFLICT (id) DO NOTHING RETURNING {_COLUMNS}
"""
_GET = f"SELECT {_COLUMNS} FROM webhooks WHERE id = $1"
_LIST = f"SELECT {_COLUMNS} FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2"
# Whatever was edited, the endpoint is tried again at once and from the beginning.
_UPDATE = f"""
UPDATE webhooks SET url = $3, kinds = $4, ids = $5, active = $6, version = version + 1,
    updated_at = now(), attempts = 0, failing_since = NULL, next_try = NULL, reason = ''
WHERE id = $1 AND version = $2 RETURNING {_COLUMNS}
"""
_ROTATE = f"""
UPDATE webhooks SET previous_secret = secret, secret = $2, rotated_at = now(),
    version = version + 1, updated_at = now()
WHERE id = $1 RETURNING {_COLUMNS}
"""
_DELETE = """
WITH gone AS (
    DELETE FROM webhooks WHERE id = $1 AND ($2::bigint IS NULL OR version = $2) RETURNING id),
forgotten AS (DELETE FROM webhook_deliveries WHERE webhook_id IN (SELECT id FROM gone))
SELECT id FROM gone
"""

_DUE = f"""
SELECT {_COLUMNS} FROM webhooks
WHERE active AND (next_try IS NULL OR next_try <= now()) AND id <> ALL($1::text[])
    AND position <> coalesce((SELECT max(position) FROM outbox), 0)
ORDER BY next_try NULLS FIRST, id LIMIT $2
"""
_SETTLE = f"""
WITH fence AS ({FENCE}),
moved AS (
    UPDATE webhooks SET
        position = CASE WHEN $6::text = 'retrying' THEN position ELSE $7::bigint END,
        attempts = CASE WHEN $6 = 'retrying' THEN attempts + 1 ELSE 0 END,
        failing_since = CASE WHEN $6 = 'retrying' THEN coalesce(failing_since, now()) END,
        next_try = CASE WHEN $6 = 'retrying' THEN now() + $8::interval END,
        active = active AND $6 <> 'failed',
        reason = CASE WHEN $6 = 'failed' THEN $9::text ELSE reason END
    WHERE id = $4 AND position = $5 AND EXISTS (SELECT FROM fence)
    RETURNING {_COLUMNS}),
tried AS (
    INSERT INTO webhook_deliveries
        (webhook_id, message_id, type, position, attempt, status, http_status, error, next_try)
    SELECT id, $10::text, $11::text, $7, $12::integer, $6, $13::integer, $14::text, next_try
    FROM moved)
SELECT * FROM moved
"""
_PASS = f"""
WITH fence AS ({FENCE})
UPDATE webhooks SET position = $6
WHERE id = $4 AND position = $5 AND version = $7 AND EXISTS (SELECT FROM fence)
RETURNING {_COLUMNS}
"""

_NOTE = """
INSERT INTO webhook_deliveries
    (webhook_id, message_id, type, position, attempt, status, http_status, error)
VALUES ($1, $2, $3, 0, 1, $4, $5, $6)
"""
_DELIVERIES = """
SELECT number, message_id, type, position, attempt, status, http_status, error, next_try, at
FROM webhook_deliveries WHERE webhook_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3
"""
_PRUNE = """
DELETE FROM webhook_deliveries WHERE number IN (
    SELECT number FROM webhook_deliveries WHERE at < now() - $1::interval LIMIT $2)
RETURNING number
"""
_PRUNED_AT_ONCE = 5_000


class Webhook(msgspec.Struct, frozen=True, gc=False):
    """A row of `webhooks`."""

    id: str
    url: str
    kinds: tuple[str, ...]
    """Empty: all of them; the same for ids."""
    ids: tuple[str, ...]
    active: bool
    secret: bytes
    previous_secret: bytes | None
    """It signs too for a day after a rotation."""
    position: int
    """Changes up to here are delivered, given up, or not wanted."""
    attempts: int
    """Tries of the message that is next, so far."""
    failing_s: float
    """Since the first of them, by the clock of PostgreSQL."""
    next_try: datetime | None
    reason: str
    """Why it was disabled; empty while it was not."""
    version: int
    created_by: str
    created_at: datetime
    updated_at: datetime


class Try(msgspec.Struct, frozen=True, gc=False):
    """What came of sending one message once."""

    message_id: str
    type: str
    position: int
    """Where the webhook stands when the message is done with."""
    status: Status
    http_status: int | None
    error: str
    next_in: timedelta | None = None
    reason: str = ""


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A row of the log of deliveries: one try."""

    number: int
    message_id: str
    """The header `webhook-id`: the same for every try of a message."""
    type: str
    position: int
    attempt: int
    status: Status
    http_status: int | None
    """None without an answer."""
    error: str
    next_try: datetime | None
    at: datetime


class Webhooks:
    """Both tables. Every method raises DurableTierUnavailable without an answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        id: str,
        url: str,
        kinds: Sequence[str],
        ids: Sequence[str],
        active: bool,
        secret: bytes,
        actor: str,
        at_most: int,
    ) -> Webhook | None:
        """Add one that hears what is committed from now on; None: the id is taken, or too many."""
        return await self._one(_CREATE, id, url, kinds, ids, active, secret, actor, at_most)

    async def get(self, id: str) -> Webhook | None:
        """Return one; None when there is none."""
        return await self._one(_GET, id)

    async def list(self, after: str, limit: int) -> Sequence[Webhook]:
        """Return those with id > `after`, in order of id."""
        return await self._many(_LIST, after, limit)

    async def update(self, changed: Webhook) -> Webhook | None:
        """Write url, kinds, ids and active of this version; None: it has moved on or is gone."""
        fields = (changed.url, changed.kinds, changed.ids, changed.active)
        return await self._one(_UPDATE, changed.id, changed.version, *fields)

    async def rotate(self, id: str, secret: bytes) -> Webhook | None:
        """Sign with another secret; None when there is no such webhook."""
        return await self._one(_ROTATE, id, secret)

    async def delete(self, id: str, version: int | None) -> bool:
        """Delete it with its deliveries; False: it is gone or has moved on."""
        return await self._pool.fetchrow(_DELETE, id, version) is not None

    async def due(self, without: Sequence[str], limit: int) -> Sequence[Webhook]:
        """Return active ones that have something to be told now."""
        return await self._many(_DUE, without, limit)

    async def settle(self, term: Term, webhook: Webhook, tried: Try) -> Webhook | None:
        """Note a try and move on; None when the term is over, or the webhook is elsewhere."""
        return await self._one(
            _SETTLE,
            *_fence(term),
            webhook.id,
            webhook.position,
            tried.status,
            tried.position,
            tried.next_in,
            tried.reason,
            tried.message_id,
            tried.type,
            webhook.attempts + 1,
            tried.http_status,
            tried.error,
        )

    async def pass_over(self, term: Term, webhook: Webhook, position: int) -> Webhook | None:
        """Move past changes that it does not want; None as in `settle`, or when it was edited."""
        given = (webhook.id, webhook.position, position, webhook.version)
        return await self._one(_PASS, *_fence(term), *given)

    async def note(self, webhook_id: str, tried: Try) -> None:
        """Note a try that moves nothing."""
        row = (tried.message_id, tried.type, tried.status, tried.http_status, tried.error)
        await self._pool.execute(_NOTE, webhook_id, *row)

    async def deliveries(self, id: str, before: int, limit: int) -> Sequence[Delivery]:
        """Return tries with a number below `before`, newest first."""
        rows = await self._pool.fetch(_DELIVERIES, id, before, limit)
        return [Delivery(**row) for row in rows]

    async def prune(self, keep: timedelta) -> int:
        """Forget tries that are older; return how many."""
        removed = 0
        while True:
            rows = await self._pool.fetch(_PRUNE, keep, _PRUNED_AT_ONCE)
            removed += len(rows)
            if len(rows) < _PRUNED_AT_ONCE:
                return removed

    async def _one(self, query: str, *arguments: object) -> Webhook | None:
        found = await self._many(query, *arguments)
        return found[0] if found else None

    async def _many(self, query: str, *arguments: object) -> Sequence[Webhook]:
        rows = await self._pool.fetch(query, *arguments)
        return [
            msgspec.convert(dict(row), Webhook, builtin_types=(bytes, datetime)) for row in rows
        ]


def _webhook(row: Mapping[str, Any]) -> Webhook:
    return Webhook(**{**row, "kinds": tuple(row["kinds"]), "ids": tuple(row["ids"])})


def _fence(term: Term) -> tuple[str, str, int]:
    return term.duty, term.server_id, term.epoch
