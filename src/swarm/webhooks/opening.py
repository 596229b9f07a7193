"""Webhooks on a server: the service for its clients, and the duty that sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from src.state.models import Term
from src.state.ownership.leader import Duty, Leader
from src.state.protocols import Clock
from src.state.records.outbox import Outbox
from src.state.records.webhooks import Webhooks
from src.state.settings import StateSettings
from src.swarm.settings import SwarmSettings
from src.swarm.webhooks.relay import Patience, Relay
from src.swarm.webhooks.sender import open_sender
from src.swarm.webhooks.service import WebhookService

log = structlog.get_logger(__name__)

RELAY = "webhook-relay"
_AGAIN = timedelta(seconds=1)
_RETENTION = timedelta(minutes=10)


@asynccontextmanager
async def open_webhooks(
    records: Webhooks,
    outbox: Outbox,
    leader: Leader,
    settings: SwarmSettings,
    state: StateSettings,
    clock: Clock,
    counted: list[Callable[[], Mapping[str, float]]],
) -> AsyncIterator[WebhookService]:
    """Give the service and have the leader's duties done, for the length of the block.

    What the relay counts goes to `counted`.
    """
    private = settings.webhook_private_addresses
    patience = Patience(
        settings.webhook_first_retry, settings.webhook_longest_retry, settings.webhook_give_up
    )

    async def forget(_: Term) -> None:
        removed = await records.prune(state.outbox_keep)
        if removed:
            log.info("webhooks.pruned", deliveries=removed)

    async with open_sender(clock, settings.webhook_timeout, private=private) as sender:
        relay = Relay(records, outbox, sender, patience, clock)
        counted.append(relay.counts)
        leader.add(Duty(RELAY, _AGAIN, relay.run))
        leader.add(Duty("webhook-retention", _RETENTION, forget))
        yield WebhookService(records, sender, clock, private=private)
