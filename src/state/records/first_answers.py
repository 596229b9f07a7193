"""First answers to requests with a key: whoever repeats one is given it again, by any server.

A key is claimed before the work begins and has its answer after it. A server that dies in between
leaves a claim without an answer, which may be taken over after a minute: the work must bear it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import structlog

from src.state.errors import StateError
from src.state.models import Term
from src.state.tiers.postgres import Pool

log = structlog.get_logger(__name__)

_GIVEN_UP_AFTER = timedelta(minutes=1)
_PRUNED_AT_ONCE = 1_000

_CLAIM = """
INSERT INTO first_answers AS known (key, fingerprint) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, at = now()
WHERE known.at < now() - $3::interval
   OR (known.answer IS NULL AND known.fingerprint = excluded.fingerprint
       AND known.at < now() - $4::interval)
RETURNING key
"""
_FIND = "SELECT fingerprint, answer FROM first_answers WHERE key = $1"
_KEEP = "UPDATE first_answers SET answer = $3 WHERE key = $1 AND fingerprint = $2"
_RELEASE = "DELETE FROM first_answers WHERE key = $1 AND fingerprint = $2 AND answer IS NULL"
_PRUNE = """
DELETE FROM first_answers WHERE key IN (
    SELECT key FROM first_answers WHERE at < now() - $1::interval LIMIT $2)
RETURNING key
"""


class FirstAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the first request got."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class KeyReused(StateError):
    """The key belongs to another request."""

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was sent with another request (method, path or body); use a new "
            "key for a new request"
        )


class KeyInUse(StateError):
    """The first request with the key is still being answered."""

    def __init__(self) -> None:
        super().__init__(
            "the first request with this Idempotency-Key is still being answered; repeat it in a "
            "moment"
        )


_answers = msgspec.json.Decoder(FirstAnswer)


class FirstAnswers:
    """The table. Every method raises DurableTierUnavailable without an answer of PostgreSQL."""

    def __init__(self, pool: Pool, keep: timedelta) -> None:
        self._pool = pool
        self._keep = keep

    async def claim(self, key: str, fingerprint: bytes) -> FirstAnswer | None:
        """Return the first answer; None: there is none, and it is the caller's to give.

        Raises:
            KeyReused: the key came with another fingerprint.
            KeyInUse: somebody else is giving the answer now.
        """
        claim = await self._pool.fetchrow(_CLAIM, key, fingerprint, self._keep, _GIVEN_UP_AFTER)
        if claim is not None:
            return None
        known = await self._pool.fetchrow(_FIND, key)
        if known is not None and known["fingerprint"] != fingerprint:
            raise KeyReused
        if known is None or known["answer"] is None:
            raise KeyInUse
        return _answers.decode(known["answer"])

    async def keep(self, key: str, fingerprint: bytes, answer: FirstAnswer) -> None:
        """Keep the answer for those who repeat the request."""
        await self._pool.execute(_KEEP, key, fingerprint, msgspec.json.encode(answer))

    async def release(self, key: str, fingerprint: bytes) -> None:
        """Give a claim back: the work was refused or failed, and may be tried again."""
        await self._pool.execute(_RELEASE, key, fingerprint)

    def retention(self) -> Callable[[Term], Awaitable[None]]:
        """Return the duty's run that keeps the table small."""

        async def run(_: Term) -> None:
            removed = await self.prune()
            if removed:
                log.info("first_answers.pruned", answers=removed)

        return run

    async def prune(self) -> int:
        """Remove what is older than it is kept, a bounded number at a time; return how many."""
        removed = 0
        while True:
            rows = await self._pool.fetch(_PRUNE, self._keep, _PRUNED_AT_ONCE)
            removed += len(rows)
            if len(rows) < _PRUNED_AT_ONCE:
                return removed
