"""What webhooks look like in answers."""

from __future__ import annotations

from datetime import datetime

import msgspec

from src.state.records.webhooks import Delivery, Webhook
from src.swarm.webhooks.messages import secret_text
from src.swarm.webhooks.service import WebhookConfig


class WebhookItem(WebhookConfig, frozen=True, gc=False, kw_only=True):
    """A webhook and where it stands."""

    id: str
    version: int
    position: int
    """Changes up to this position of the outbox are delivered, given up, or not wanted."""
    attempts: int
    """Failed tries of the message that is next."""
    next_try: datetime | None
    reason: str
    """Why the server disabled it; empty while it did not."""
    created_by: str
    created_at: datetime
    updated_at: datetime


class WebhookMade(WebhookItem, frozen=True, gc=False, kw_only=True):
    """The same with its secret, which is shown this once."""

    secret: str
    """`whsec_...`, as the libraries of Standard Webhooks read it."""


class WebhookList(msgspec.Struct, frozen=True, gc=False):
    """Webhooks in order of id."""

    webhooks: tuple[WebhookItem, ...]
    next_cursor: str | None


class DeliveryList(msgspec.Struct, frozen=True, gc=False):
    """Tries, newest first."""

    deliveries: tuple[Delivery, ...]
    next_before: int | None


class Tested(msgspec.Struct, frozen=True, gc=False):
    """What came of a test delivery."""

    message_id: str
    delivered: bool
    http_status: int | None
    error: str


_SHOWN = WebhookItem.__struct_fields__


def item(webhook: Webhook) -> WebhookItem:
    """Return the answer for a webhook; nothing in it is secret but perhaps the URL."""
    return WebhookItem(**{name: getattr(webhook, name) for name in _SHOWN})


def made(webhook: Webhook) -> WebhookMade:
    """Return the answer that shows a new secret."""
    shown = {name: getattr(webhook, name) for name in _SHOWN}
    return WebhookMade(**shown, secret=secret_text(webhook.secret))
