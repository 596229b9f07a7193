"""Sending a command to the server that owns its conversation: one hop, never more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, NoReturn

import aiohttp
import msgspec

from src.state.cutting import cut_short
from src.state.errors import (
    EventRefused,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    Overloaded,
    OwnershipUnknown,
    ReadOnly,
    Refused,
    StateError,
    VersionConflict,
)
from src.state.models import Durability, Version
from src.swarm.errors import RulesUnknown
from src.swarm.internal_tokens import InternalTokens
from src.swarm.shapes.codec import decode_command, encode_command
from src.swarm.shapes.commands import Command

NOT_OWNER = 421
_CONNECT_S = 1.0
"""A machine that is gone does not even refuse: who waits for it should ask who owns instead."""
_NOT_TAKEN = frozenset((401, 403, 413))
"""The owner's edge turned the request away before anybody looked at the command."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """A command was taken: the version it made and how safe it is."""

    version: Version
    durability: Durability
    repeated: bool = False


class Forwarded(msgspec.Struct, frozen=True, gc=False):
    """A command on its way to its owner. `command` is the JSON of the typed command."""

    command: msgspec.Raw
    key: str
    actor: str
    if_version: Version | None = None
    durability: Durability | None = None
    create: bool = False


class AskedFor(msgspec.Struct, frozen=True, gc=False):
    """A server asks for a conversation whose room it hosts."""

    to: str


class Given(msgspec.Struct, frozen=True, gc=False):
    """A server that is going away names what it has given to another."""

    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]


class Refusal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The owner's no, as it crosses servers."""

    code: str
    detail: str
    field: str | None = None
    owner: str | None = None
    retry_after_s: float | None = None
    expected: str = ""
    found: str = ""
    wanted: tuple[tuple[str, str], ...] = ()


_encoder = msgspec.json.Encoder()
_receipts = msgspec.json.Decoder(Receipt)
_refusals = msgspec.json.Decoder(Refusal)
_commands = msgspec.json.Decoder(Forwarded)


def encode_forwarded(
    command: Command,
    *,
    key: str,
    actor: str,
    if_version: Version | None,
    durability: Durability | None,
    create: bool,
) -> bytes:
    """Write a command for the internal route."""
    raw = msgspec.Raw(encode_command(command))
    return _encoder.encode(Forwarded(raw, key, actor, if_version, durability, create))


def decode_forwarded(body: bytes) -> tuple[Command, Forwarded]:
    """Read what `encode_forwarded` wrote.

    Raises:
        msgspec.ValidationError, InvalidCommand: not such a body.
    """
    forwarded = _commands.decode(body)
    return decode_command(bytes(forwarded.command)), forwarded


def encode_refusal(error: StateError) -> bytes:
    """Write an error so that `raise_refusal` on the other server raises the same kind."""
    if isinstance(error, NotOwner):
        return _encoder.encode(Refusal("not_owner", str(error), owner=error.server_id))
    if isinstance(error, VersionConflict):
        conflict = Refusal(
            error.code, error.detail, expected=str(error.expected), found=str(error.found)
        )
        return _encoder.encode(conflict)
    if isinstance(error, Refused):
        return _encoder.encode(Refusal(error.code, error.detail, error.field))
    if isinstance(error, RulesUnknown):
        return _encoder.encode(Refusal("rules_unknown", str(error), wanted=error.wanted))
    if isinstance(error, Overloaded):
        return _encoder.encode(Refusal("overloaded", str(error), retry_after_s=error.retry_after_s))
    codes = {
        OutcomeUnknown: "outcome_unknown",
        EventRefused: "event_refused",
        ReadOnly: "read_only",
    }
    return _encoder.encode(Refusal(codes.get(type(error), "ownership_unknown"), str(error)))


def raise_refusal(conversation_id: str, no: Refusal, status: int) -> NoReturn:
    """Raise the owner's error here."""
    if no.code == "not_owner":
        raise NotOwner(conversation_id, no.owner or "")
    if no.code == "version_conflict":
        raise VersionConflict(conversation_id, no.expected, no.found)
    if no.code == "not_found":
        raise NotFound("conversation", conversation_id)
    if no.code == "rules_unknown":
        raise RulesUnknown(conversation_id, no.wanted)
    if no.code == "overloaded":
        raise Overloaded(no.detail, no.retry_after_s or 1.0)
    if no.code == "outcome_unknown":
        raise OutcomeUnknown(conversation_id)
    if no.code == "event_refused":
        raise EventRefused(conversation_id, no.detail)
    if no.code == "read_only":
        raise ReadOnly(conversation_id)
    if no.code == "ownership_unknown":
        raise OwnershipUnknown(conversation_id, no.detail)
    if status >= 500:
        # It broke on the way: what it had done by then only the log can say.
        raise OutcomeUnknown(conversation_id)
    raise Refused(no.code, no.detail, field=no.field)


class Forwarder:
    """Posts commands to the internal route of another server."""

    def __init__(
        self, session: aiohttp.ClientSession, tokens: InternalTokens, timeout: timedelta
    ) -> None:
        self._session = session
        self._tokens = tokens
        self._timeout = aiohttp.ClientTimeout(
            total=timeout.total_seconds(), sock_connect=_CONNECT_S
        )
        self._under_way: dict[str, set[asyncio.Timeout]] = {}
        self.forwarded = 0

    def give_up(self, url: str) -> None:
        """Wait no longer for a server that is dead: what it was sent is of unknown outcome."""
        for waiting in self._under_way.get(url, ()):
            cut_short(waiting)

    async def send(self, url: str, conversation_id: str, body: bytes) -> Receipt:
        """Return the owner's receipt.

        Raises:
            NotOwner: that server does not own it either.
            OwnershipUnknown: the server was not reached, so the command was not taken there.
            OutcomeUnknown: it was reached and did not answer; the same key may be sent again.
            and whatever the owner refused the command with.
        """
        self.forwarded += 1
        path = f"conversations/{conversation_id}/commands"
        answer = await self._post(url, path, conversation_id, body)
        try:
            return _receipts.decode(answer)
        except msgspec.MsgspecError as error:
            raise OutcomeUnknown(conversation_id) from error

    async def ask_for(self, url: str, conversation_id: str, to: str) -> None:
        """Have a conversation's owner give it to the server `to`.

        Raises:
            what `Handover.give` raises on the owner, and the errors of `send`.
        """
        path = f"conversations/{conversation_id}/give"
        await self._post(url, path, conversation_id, _encoder.encode(AskedFor(to)))

    async def tell_owner(self, url: str, ids: Sequence[str]) -> None:
        """Tell a server that it owns these conversations now, so that it goes on with them.

        Raises:
            OwnershipUnknown, OutcomeUnknown: it was not reached, or did not answer.
        """
        await self._post(url, "given", ids[0], _encoder.encode(Given(tuple(ids))))

    async def _post(self, url: str, path: str, conversation_id: str, body: bytes) -> bytes:
        headers = {
            "Authorization": f"Bearer {self._tokens.sign()}",
            "Content-Type": "application/json",
        }
        waiting = asyncio.timeout(None)
        beside = self._under_way.setdefault(url, set())
        beside.add(waiting)
        try:
            async with (
                waiting,
                self._session.post(
                    f"{url}/internal/v1/{path}", data=body, headers=headers, timeout=self._timeout
                ) as response,
            ):
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise OwnershipUnknown(
                conversation_id, f"its owner cannot be reached: {error}"
            ) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown(conversation_id) from error
        finally:
            beside.discard(waiting)
            if not beside:
                self._under_way.pop(url, None)
        if status in _NOT_TAKEN:
            raise OwnershipUnknown(conversation_id, f"its owner answered {status}")
        if status == 200:
            return answer
        try:
            no = _refusals.decode(answer)
        except msgspec.MsgspecError as error:
            raise OutcomeUnknown(conversation_id) from error
        raise_refusal(conversation_id, no, status)


@asynccontextmanager
async def open_forwarder(tokens: InternalTokens, patience: timedelta) -> AsyncIterator[Forwarder]:
    """Open the connections to other servers; close them at the end of the block."""
    connector = aiohttp.TCPConnector(limit=200, limit_per_host=64, keepalive_timeout=30)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Forwarder(session, tokens, patience)
