"""Tokens for rooms, as LiveKit's own libraries ask for them."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response

from src.api.auth.principals import Principal, Right
from src.api.bodies import decoded
from src.api.dependencies import (
    ID,
    JsonBody,
    LiveKitKeysOf,
    LiveKitOf,
    RoomsOf,
    Service,
    Visitor,
)
from src.api.errors import Unauthorized
from src.api.ids import new_id
from src.api.livekit.admissions import Admission, Wanted, admitted, guest
from src.api.livekit.making import make_room
from src.api.rate_limits import Metered, RateLimits
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, problems
from src.api.schemas.rooms import NewRoom, TokenMade, TokenWanted
from src.state.errors import NotFound
from src.state.records.rooms import Room
from src.swarm.rooms.service import RoomService
from src.swarm.service import SwarmService

router = APIRouter(prefix="/api", tags=["rooms"])

_WANTED = {"participant_name": "Zoe", "room_config": {"agents": [{"agent_name": "swarmstate"}]}}
_MADE = {"server_url": "wss://livekit.example.com", "participant_token": "eyJhbGciOiJIUzI1NiJ9..."}


def token_rate() -> Any:  # FastAPI's marker for a dependency has no public type
    """Count requests for tokens by address, whoever asks but bots and workers."""

    async def count(connection: HTTPConnection, caller: Visitor) -> None:
        limits = cast("RateLimits", connection.app.state.rate_limits)
        if caller is None or not caller.may(Right.UNMETERED):
            await limits.one(connection, Metered.ENTER, None)

    return Depends(count)


@router.post(
    "/getToken",
    status_code=201,
    summary="Get a token for a room",
    dependencies=[token_rate()],
    openapi_extra=body(TokenWanted, _WANTED),
    responses=answer(TokenMade, "Where to connect, and with what", status=201, example=_MADE)
    | problems(404, 409, 413),
)
async def get_token(
    connection: HTTPConnection,
    caller: Visitor,
    rooms: RoomsOf,
    keys: LiveKitKeysOf,
    livekit: LiveKitOf,
    service: Service,
    given: JsonBody,
) -> Response:
    """Get a token for a room that you may enter, by LiveKit's standard request.

    Without `room_name` a room is made. With `room_config.agents` the swarm is sent there. The other
    fields of the standard are the server's own to fill, and are refused.
    """
    wanted = decoded(TokenWanted, given)
    wish = Wanted(
        wanted.participant_identity, wanted.participant_name, wanted.participant_attributes
    )
    if wanted.room_name is None:
        if caller is None:
            raise Unauthorized("guests may enter open rooms only")
        limits = cast("RateLimits", connection.app.state.rate_limits)
        await limits.one(connection, Metered.BEGIN, caller)
        room, _ = await make_room(rooms, service, caller, NewRoom(), new_id())
    else:
        room = await _found(rooms, caller, wanted.room_name)
    admission = await admission_to(room, service, caller, wish)
    if caller is not None and wanted.room_config is not None and wanted.room_config.agents:
        await rooms.send_swarm(room)
    elif wanted.room_name is not None:
        await rooms.enter(room)
    rooms.tokens_made += 1
    return json_response(TokenMade(livekit.shown_url, keys.token(admission)), 201)


@router.get(
    "/token",
    summary="Get a token for a room, in short",
    dependencies=[token_rate()],
    responses=answer(TokenMade, "Where to connect, and with what", example=_MADE) | problems(404),
)
async def get_token_in_short(
    caller: Visitor,
    rooms: RoomsOf,
    keys: LiveKitKeysOf,
    livekit: LiveKitOf,
    service: Service,
    room: Annotated[str, Query(pattern=ID, description="The room's id")],
    name: Annotated[
        str | None, Query(min_length=1, max_length=200, description="What others call you there")
    ] = None,
) -> Response:
    """Get a token for a room that you may enter, under your own name or another."""
    found = await _found(rooms, caller, room)
    admission = await admission_to(found, service, caller, Wanted(name=name))
    await rooms.enter(found)
    rooms.tokens_made += 1
    return json_response(TokenMade(livekit.shown_url, keys.token(admission)))


async def admission_to(
    room: Room, service: SwarmService, caller: Principal | None, wish: Wanted
) -> Admission:
    """Return what a token for this room may say."""
    if caller is None:
        return guest(room, wish, new_id())
    state = (await service.read(room.conversation_id)).entry.state
    return admitted(caller, state, room, wish)


async def _found(rooms: RoomService, caller: Principal | None, room_id: str) -> Room:
    try:
        return await rooms.get(room_id)
    except NotFound:
        if caller is None:
            # Which rooms there are is nothing that strangers may try out.
            raise Unauthorized("guests may enter open rooms only") from None
        raise
