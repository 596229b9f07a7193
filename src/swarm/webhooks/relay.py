"""The relay: on one server at a time, it tells every webhook what the outbox has for it.

Each webhook is told in order and one message at a time: while one is not received, those behind it
wait. Several webhooks are told side by side. A message is noted after it was sent, never before,
so one whose leader died in between is sent again, under the same id (at least once).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec
import structlog

from src.invalidation.changes import Wanted
from src.state.errors import DurableTierUnavailable
from src.state.models import Term
from src.state.protocols import Clock
from src.state.records.outbox import Outbox
from src.state.records.webhooks import Try, Webhook, Webhooks
from src.swarm.webhooks import messages
from src.swarm.webhooks.messages import Message
from src.swarm.webhooks.sender import Outcome, Sender

log = structlog.get_logger(__name__)

_LOOK_S = 0.5
_SIDE_BY_SIDE = 32
_PAGE = 50
"""Changes told to a webhook before its turn ends and its row is read anew."""


class Patience(msgspec.Struct, frozen=True, gc=False):
    """How long a message is tried."""

    first: timedelta
    longest: timedelta
    give_up: timedelta

    def after(self, attempts: int, chance: float) -> timedelta:
        """Return the pause after that many failed tries: doubled each time, capped, jittered.

        `chance` is from 0 to 1.
        """
        doubled = self.first * float(2 ** min(attempts - 1, 20))
        return min(self.longest, doubled) * (0.5 + chance / 2)


def judge(
    webhook: Webhook,
    message: Message,
    position: int,
    outcome: Outcome,
    patience: Patience,
    chance: float,
) -> Try:
    """Say what a try means: delivered, tried again later, or given up together with the webhook."""

    def tried(status: str, **more: object) -> Try:
        known = (message.id, message.type, position, status, outcome.status, outcome.error)
        return Try(*known, **more)  # type: ignore[arg-type]  # a Literal by its three callers

    if outcome.delivered:
        return tried("delivered")
    if outcome.gone:
        return tried("failed", reason="the receiver answered 410 Gone")
    if webhook.failing_s >= patience.give_up.total_seconds():
        days = patience.give_up / timedelta(days=1)
        return tried("failed", reason=f"a message failed for {days:.1f} days: {outcome.error}")
    return tried("retrying", next_in=patience.after(webhook.attempts + 1, chance))


class Relay:
    """Sends what is due, for as long as its term lasts."""

    def __init__(
        self,
        webhooks: Webhooks,
        outbox: Outbox,
        sender: Sender,
        patience: Patience,
        clock: Clock,
    ) -> None:
        self._webhooks = webhooks
        self._outbox = outbox
        self._sender = sender
        self._patience = patience
        self._clock = clock
        self.delivered = 0
        self.failed = 0
        self.disabled = 0

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {
            "webhooks_delivered": self.delivered,
            "webhooks_failed": self.failed,
            "webhooks_disabled": self.disabled,
        }

    async def run(self, term: Term) -> None:
        """Tell every webhook what it wants, until cancelled."""
        under_way: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    due = await self._webhooks.due(
                        sorted(under_way), _SIDE_BY_SIDE - len(under_way)
                    )
                except DurableTierUnavailable:
                    # The failure ladder says so, and the next look is soon.
                    due = ()
                for webhook in due:
                    under_way.add(webhook.id)
                    task = tasks.create_task(self._tell(term, webhook))
                    task.add_done_callback(partial(_end, under_way, webhook.id))
                await self._clock.sleep(_LOOK_S)

    async def _tell(self, term: Term, webhook: Webhook) -> None:
        """Tell one webhook a page of changes."""
        try:
            await self._tell_page(term, webhook)
        except DurableTierUnavailable as error:
            # What was sent and not noted is sent again.
            log.warning("webhook.unsettled", webhook=webhook.id, error=str(error))

    async def _tell_page(self, term: Term, webhook: Webhook) -> None:
        page = await self._outbox.after(webhook.position, _PAGE)
        if page.missing:
            now = self._clock.now()
            message = messages.of_reset(webhook.id, webhook.position, page.newest, now)
            await self._try(term, webhook, message, page.newest)
            return
        wanted = Wanted(frozenset(webhook.kinds), frozenset(webhook.ids))
        told = webhook
        for change in page.changes:
            if not wanted.has(change):
                continue
            message = messages.of_change(webhook.id, change)
            after = await self._try(term, told, message, change.position)
            if after is None:
                return
            told = after
        if page.changes and told.position < page.changes[-1].position:
            await self._webhooks.pass_over(term, told, page.changes[-1].position)

    async def _try(
        self, term: Term, webhook: Webhook, message: Message, position: int
    ) -> Webhook | None:
        """Send and note one message; return the webhook if its next one may follow at once."""
        outcome = await self._sender.send(webhook, message)
        tried = judge(webhook, message, position, outcome, self._patience, random.random())
        after = await self._webhooks.settle(term, webhook, tried)
        if after is None:
            # Another leader, or no such webhook any more.
            return None
        if tried.status == "delivered":
            self.delivered += 1
            return after if after.active and after.version == webhook.version else None
        self.failed += 1
        if tried.status == "failed":
            self.disabled += 1
            log.warning("webhook.disabled", webhook=webhook.id, reason=tried.reason)
        return None


def _end(under_way: set[str], id: str, _: asyncio.Task[None]) -> None:
    under_way.discard(id)
