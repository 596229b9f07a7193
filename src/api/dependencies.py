"""What routes ask for in their signatures."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import msgspec
from fastapi import Depends, Header, Path, Query, Request
from starlette.requests import HTTPConnection

from src.api import headers
from src.api.auth.accounts import Accounts
from src.api.auth.door import Door
from src.api.auth.idempotency import key_of
from src.api.auth.keys import ServiceKeys
from src.api.auth.principals import Principal, Right
from src.api.auth.rules import check_right
from src.api.bodies import Body, read_object
from src.api.errors import NotConfigured, Unauthorized
from src.api.ids import new_id
from src.api.livekit.opening import Keys
from src.api.rate_limits import Metered, RateLimits
from src.api.settings import ApiSettings
from src.invalidation.changes import ChangeFeed
from src.state.models import Durability, Version
from src.swarm.erasing import Erasing
from src.swarm.files import FileService
from src.swarm.rooms.service import RoomService
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.rooms.workers import Workers
from src.swarm.service import SwarmService
from src.swarm.status import Status
from src.swarm.webhooks.service import WebhookService

ID = r"^[A-Za-z0-9._:@-]{1,128}$"
KEY = r"^[A-Za-z0-9._:@-]{1,120}$"
# 18 digits always fit into the 64 bits of a number.
_VERSION = r"[0-9]{1,18}\.[0-9]{1,18}"
_STATE_ETAG = rf'^(\*|(W/)?"{_VERSION}(\+{_VERSION})?")$'
_CONFIG_ETAG = r'^(\*|(W/)?"[0-9]{1,18}")$'

ConversationId = Annotated[str, Path(pattern=ID, description="The conversation")]
FileId = Annotated[str, Path(pattern=ID, description="The file")]
RoomId = Annotated[str, Path(pattern=ID, description="The room")]
ConfigId = Annotated[str, Path(pattern=ID, description="The config")]


async def _service(connection: HTTPConnection) -> SwarmService:
    return cast("SwarmService", connection.state.service)


async def _status(connection: HTTPConnection) -> Status:
    return cast("Status", connection.state.status)


async def _changes(connection: HTTPConnection) -> ChangeFeed:
    return cast("ChangeFeed", connection.state.changes)


async def _erasing(connection: HTTPConnection) -> Erasing:
    return cast("Erasing", connection.state.erasing)


async def files_of(connection: HTTPConnection) -> FileService:
    files = cast("FileService | None", connection.state.files)
    if files is None:
        raise NotConfigured("files need a place for their bytes: set SWARMSTATE_BLOBS_URL")
    return files


async def _rooms(connection: HTTPConnection) -> RoomService:
    rooms = cast("RoomService | None", connection.state.rooms)
    if rooms is None:
        raise _no_livekit()
    return rooms


async def _workers(connection: HTTPConnection) -> Workers:
    return cast("Workers", connection.state.workers)


async def _livekit_keys(connection: HTTPConnection) -> Keys:
    keys = cast("Keys | None", connection.state.livekit_keys)
    if keys is None:
        raise _no_livekit()
    return keys


def _no_livekit() -> NotConfigured:
    return NotConfigured(
        "rooms need a LiveKit server: set SWARMSTATE_LIVEKIT_URL, SWARMSTATE_LIVEKIT_API_KEY and "
        "SWARMSTATE_LIVEKIT_API_SECRET"
    )


async def _livekit(connection: HTTPConnection) -> LiveKitSettings:
    return cast("LiveKitSettings", connection.state.livekit)


async def _webhooks(connection: HTTPConnection) -> WebhookService:
    return cast("WebhookService", connection.state.webhooks)


async def _settings(connection: HTTPConnection) -> ApiSettings:
    return cast("ApiSettings", connection.app.state.settings)


async def identified(connection: HTTPConnection, authorization: bytes | None) -> Principal:
    """Return whose token this is, and count the request.

    Raises:
        Unauthorized: no token, or none that is good.
        RateLimited: too many requests.
    """
    door = cast("Door", connection.app.state.door)
    limits = cast("RateLimits", connection.app.state.rate_limits)
    counted = door.is_new_key(authorization)
    if counted:
        # Before PostgreSQL is asked: guessed keys must not cost more than guessed tokens.
        await limits.stranger(connection)
    try:
        caller = await door.authenticate(authorization)
    except Unauthorized:
        if not counted:
            await limits.stranger(connection)
        raise
    connection.state.caller = caller
    await limits.caller(connection, caller)
    return caller


async def _caller(connection: HTTPConnection) -> Principal:
    given = headers.find(connection.scope["headers"], b"authorization")
    return await identified(connection, given)


async def _visitor(connection: HTTPConnection, settings: Settings) -> Principal | None:
    given = headers.find(connection.scope["headers"], b"authorization")
    if given is None and settings.guests == "allow":
        return None
    return await identified(connection, given)


async def _accounts(connection: HTTPConnection) -> Accounts:
    return cast("Accounts", connection.state.accounts)


async def _keys(connection: HTTPConnection) -> ServiceKeys:
    return cast("ServiceKeys", connection.state.keys)


async def _body(request: Request) -> Body:
    return read_object(await request.body())


Service = Annotated[SwarmService, Depends(_service)]
RoomsOf = Annotated[RoomService, Depends(_rooms)]
WorkersOf = Annotated[Workers, Depends(_workers)]
LiveKitKeysOf = Annotated[Keys, Depends(_livekit_keys)]
LiveKitOf = Annotated[LiveKitSettings, Depends(_livekit)]
Eraser = Annotated[Erasing, Depends(_erasing)]
FileStore = Annotated[FileService, Depends(files_of)]
ServerStatus = Annotated[Status, Depends(_status)]
Changes = Annotated[ChangeFeed, Depends(_changes)]
Webhooks = Annotated[WebhookService, Depends(_webhooks)]
Settings = Annotated[ApiSettings, Depends(_settings)]
Caller = Annotated[Principal, Depends(_caller)]
Visitor = Annotated[Principal | None, Depends(_visitor)]
"""The caller; None: a guest, where they are let in."""
AccountsOf = Annotated[Accounts, Depends(_accounts)]
KeysOf = Annotated[ServiceKeys, Depends(_keys)]
JsonBody = Annotated[Body, Depends(_body)]


def needs(right: Right) -> Any:  # FastAPI's marker for a dependency has no public type
    """Let only callers with this right reach a route."""

    async def check(caller: Caller) -> None:
        check_right(caller, right)

    return Depends(check)


def metered(what: Metered) -> Any:  # As above.
    """Count a caller's requests to a route that has a rate of its own."""

    async def count(connection: HTTPConnection, caller: Caller) -> None:
        limits = cast("RateLimits", connection.app.state.rate_limits)
        await limits.one(connection, what, caller)

    return Depends(count)


async def _at_least(
    x_swarm_version: Annotated[
        str | None,
        Header(
            pattern=f"^{_VERSION}$",
            description="Last version seen, `<epoch>.<seq>`: the answer is not older",
        ),
    ] = None,
) -> Version | None:
    return None if x_swarm_version is None else Version.parse(x_swarm_version)


AtLeast = Annotated[Version | None, Depends(_at_least)]


class Wish(msgspec.Struct, frozen=True, gc=False):
    """What the headers of a write ask for."""

    key: str
    if_version: Version | None = None
    durability: Durability | None = None
    at_least: Version | None = None
    key_given: bool = False


async def _wish(
    caller: Caller,
    at_least: AtLeast,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=KEY,
            description="Repeat a request with the same key and it is done once; "
            "your keys are your own, within a conversation",
        ),
    ] = None,
    if_match: Annotated[
        str | None,
        Header(
            pattern=_STATE_ETAG,
            description="ETag of the version this write was decided on; 412 if it moved on",
        ),
    ] = None,
    x_swarm_durability: Annotated[
        Literal["buffered", "logged"] | None,
        Header(description="How safe the write has to be before it is acknowledged"),
    ] = None,
) -> Wish:
    return Wish(
        new_id() if idempotency_key is None else key_of(caller, idempotency_key),
        None if if_match in (None, "*") else _decided_on(_unquoted(if_match)),
        None if x_swarm_durability is None else Durability(x_swarm_durability),
        at_least,
        idempotency_key is not None,
    )


WriteWish = Annotated[Wish, Depends(_wish)]


async def _if_version(
    if_match: Annotated[
        str | None,
        Header(
            pattern=_CONFIG_ETAG,
            description='ETag of the version this change was decided on, such as `"3"`',
        ),
    ] = None,
) -> int | None:
    return None if if_match in (None, "*") else int(_unquoted(if_match))


IfVersion = Annotated[int | None, Depends(_if_version)]

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most")]
CURSOR = "`next_cursor` of the page before"


def _decided_on(state_etag: str) -> Version:
    """Return the version that a state has, or will have when what it shows is logged."""
    version, _, ahead = state_etag.partition("+")
    return Version.parse(ahead or version)


def _unquoted(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
