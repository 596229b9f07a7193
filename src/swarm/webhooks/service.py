"""Subscriptions as clients edit them. Any server does this; only the relay's leader sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from src.state.errors import NotFound, Refused, VersionConflict
from src.state.protocols import Clock
from src.state.records.webhooks import Delivery, Status, Try, Webhook, Webhooks
from src.swarm.configs.service import KindName
from src.swarm.errors import InvalidCommand
from src.swarm.shapes import free_json
from src.swarm.shapes.bounds import Id
from src.swarm.webhooks import messages
from src.swarm.webhooks.addresses import URL, check_url
from src.swarm.webhooks.sender import Outcome, Sender

AT_MOST = 200
"""Webhooks in all: each one is a request for every change."""
_EDITS = 5
_NEWEST = 2**62


class WebhookConfig(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a client says of a webhook."""

    url: Annotated[str, Meta(max_length=2_000, pattern=URL)]
    """Begins with https://; http:// and private addresses where the server's settings allow it."""
    kinds: Annotated[tuple[KindName, ...], Meta(max_length=20)] = ()
    """Kinds of configs to hear of; none: all. The same for ids."""
    ids: Annotated[tuple[Id, ...], Meta(max_length=100)] = ()
    active: bool = True


_decoder = msgspec.json.Decoder(WebhookConfig)


class WebhookService:
    """CRUD of webhooks, test deliveries, and the log of deliveries."""

    def __init__(self, records: Webhooks, sender: Sender, clock: Clock, *, private: bool) -> None:
        self._records = records
        self._sender = sender
        self._clock = clock
        self._private = private

    async def create(self, id: str, data: bytes, actor: str) -> Webhook:
        """Make one that hears of changes committed from now on.

        Raises:
            Refused: out of bounds, an address that is not allowed, a taken id, or too many.
        """
        given = self._accepted(data)
        fields = (given.url, given.kinds, given.ids, given.active)
        made = await self._records.create(id, *fields, messages.new_secret(), actor, AT_MOST)
        if made is not None:
            return made
        if await self._records.get(id) is not None:
            raise Refused("exists", f"there is a webhook {id!r} already; change that one")
        raise Refused("too_many", f"there are {AT_MOST} webhooks; delete one first")

    async def get(self, id: str) -> Webhook:
        """Return one.

        Raises:
            NotFound: there is none.
        """
        found = await self._records.get(id)
        if found is None:
            raise NotFound("webhook", id)
        return found

    async def list(self, cursor: str | None, limit: int) -> tuple[Sequence[Webhook], str | None]:
        """Return webhooks in order of id, and the cursor of the next page."""
        found = await self._records.list(cursor or "", limit)
        return found, found[-1].id if len(found) == limit else None

    async def patch(
        self, id: str, merge_patch: Mapping[str, Any], if_version: int | None
    ) -> Webhook:
        """Apply a JSON merge patch (RFC 7396); a disabled webhook is tried again at once.

        Raises:
            NotFound: there is none. VersionConflict: `if_version` is not the present version.
        """
        for _ in range(_EDITS):
            present = await self.get(id)
            _check_version(present, if_version)
            given = self._accepted(msgspec.json.encode(_merged(present, merge_patch)))
            wanted = replace(
                present, url=given.url, kinds=given.kinds, ids=given.ids, active=given.active
            )
            changed = await self._records.update(wanted)
            if changed is not None:
                return changed
        raise VersionConflict(id, present.version, (await self.get(id)).version)

    async def rotate(self, id: str) -> Webhook:
        """Give it another secret; the old one signs too for a day."""
        rotated = await self._records.rotate(id, messages.new_secret())
        if rotated is None:
            raise NotFound("webhook", id)
        return rotated

    async def delete(self, id: str, if_version: int | None) -> None:
        """Delete it and the log of its deliveries."""
        if not await self._records.delete(id, if_version):
            _check_version(await self.get(id), if_version)

    async def test(self, id: str) -> tuple[str, Outcome]:
        """Send a message of the type webhook.test now; return its id and what came of it."""
        webhook = await self.get(id)
        message = messages.of_test(id, self._clock.now())
        outcome = await self._sender.send(webhook, message)
        status: Status = "delivered" if outcome.delivered else "failed"
        noted = Try(message.id, message.type, 0, status, outcome.status, outcome.error)
        await self._records.note(id, noted)
        return message.id, outcome

    async def deliveries(self, id: str, before: int | None, limit: int) -> Sequence[Delivery]:
        """Return tries with a number below `before`, newest first."""
        await self.get(id)
        return await self._records.deliveries(id, before or _NEWEST, limit)

    def _accepted(self, data: bytes) -> WebhookConfig:
        try:
            given = _decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
            raise InvalidCommand(str(exc), field=free_json.place(exc)) from exc
        check_url(given.url, private=self._private)
        return given


def _merged(present: Webhook, patch: Mapping[str, Any]) -> Mapping[str, Any]:
    names = WebhookConfig.__struct_fields__
    merged = {**{name: getattr(present, name) for name in names}, **patch}
    return {name: value for name, value in merged.items() if value is not None}


def _check_version(present: Webhook, expected: int | None) -> None:
    if expected is not None and expected != present.version:
        raise VersionConflict(present.id, expected, present.version)
