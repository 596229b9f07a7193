"""Webhooks: changes of configs, sent to an address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, at, conditional, query
from swarmstate_client.decoding import read
from swarmstate_client.pages import pages
from swarmstate_client.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A webhook and where it stands; `secret` is shown when it is made, and only then."""

    id: str
    url: str
    version: int
    position: int
    attempts: int
    next_try: datetime | None
    reason: str
    """Why the server disabled it; empty while it did not."""
    created_by: str
    created_at: datetime
    updated_at: datetime
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    active: bool = True
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try."""

    number: int
    message_id: str
    type: str
    position: int
    attempt: int
    status: str
    http_status: int | None
    error: str
    next_try: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What came of a test message."""

    message_id: str
    delivered: bool
    http_status: int | None
    error: str


class Webhooks:
    """What `Client.webhooks` does. None is made twice: see NotAnswered."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        url: str,
        *,
        id: str | None = None,
        kinds: Sequence[str] = (),
        ids: Sequence[str] = (),
    ) -> Webhook:
        """Have changes sent there, of these kinds and ids (of all, without any)."""
        named = {} if id is None else {"id": id}
        body = {"url": url, "kinds": kinds, "ids": ids, **named}
        return await self._one("POST", at("/webhooks"), body, repeatable=False)

    def list(self, *, page: int = 50) -> AsyncIterator[Webhook]:
        """Give webhooks, in order of id."""
        ask = Ask(method="GET", path=at("/webhooks"), query=query(limit=page))
        return pages(self._transport, ask, "webhooks", Webhook)

    async def get(self, id: str) -> Webhook:
        """Return a webhook."""
        return await self._one("GET", at("/webhooks/{}", id))

    async def patch(self, id: str, change: Json, *, if_match: int | None = None) -> Webhook:
        """Apply a JSON merge patch to `url`, `kinds`, `ids` and `active`."""
        return await self._one("PATCH", at("/webhooks/{}", id), change, conditional(if_match))

    async def delete(self, id: str, *, if_match: int | None = None) -> None:
        """Tell it nothing more."""
        headers = conditional(if_match)
        await self._transport.send(
            Ask(method="DELETE", path=at("/webhooks/{}", id), headers=headers)
        )

    async def rotate(self, id: str) -> Webhook:
        """Give it another secret; for a day both sign."""
        return await self._one("POST", at("/webhooks/{}/rotate", id), repeatable=False)

    async def test(self, id: str) -> Tested:
        """Send it a message now."""
        ask = Ask(method="POST", path=at("/webhooks/{}/test", id), repeatable=False)
        return read(Tested, (await self._transport.send(ask)).body)

    def deliveries(self, id: str, *, page: int = 50) -> AsyncIterator[Delivery]:
        """Give the tries of the last days, newest first."""
        ask = Ask(method="GET", path=at("/webhooks/{}/deliveries", id), query=query(limit=page))
        how = {"next_in": "next_before", "sent_as": "before"}
        return pages(self._transport, ask, "deliveries", Delivery, **how)

    async def _one(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Json | None = None,
        *,
        repeatable: bool = True,
    ) -> Webhook:
        ask = Ask(method=method, path=path, body=body, headers=headers or {}, repeatable=repeatable)
        return read(Webhook, (await self._transport.send(ask)).body)
