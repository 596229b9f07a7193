"""A conversation by voice in one call."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from src.api.bodies import decoded
from src.api.dependencies import (
    Caller,
    JsonBody,
    LiveKitKeysOf,
    LiveKitOf,
    RoomsOf,
    Service,
    metered,
)
from src.api.livekit.admissions import Wanted
from src.api.livekit.making import make_room
from src.api.rate_limits import Metered
from src.api.routes.room_tokens import admission_to, token_rate
from src.api.routes.rooms import SENT, WAITING, RoomKey, id_for
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, problems
from src.api.schemas.rooms import Automatic, NewRoom, SessionBegun, sent

router = APIRouter(prefix="/agent/voice", tags=["rooms"])

_BEGUN = {
    "room_url": "wss://livekit.example.com",
    "token": "eyJhbGciOiJIUzI1NiJ9...",
    "session_id": "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b",
    "conversation_id": "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b",
    "swarm": SENT,
}
_WAITS = {**_BEGUN, "swarm": WAITING}


@router.post(
    "/automatic",
    status_code=201,
    summary="Begin to talk",
    dependencies=[token_rate(), metered(Metered.BEGIN)],
    openapi_extra=body(Automatic, {"user": "zoe"}),
    responses=answer(SessionBegun, "All that is needed to talk", status=201, example=_BEGUN)
    | answer(SessionBegun, "The same, but the swarm waits in line", status=202, example=_WAITS)
    | problems(404, 409, 413),
)
async def begin(
    caller: Caller,
    rooms: RoomsOf,
    keys: LiveKitKeysOf,
    livekit: LiveKitOf,
    service: Service,
    given: JsonBody,
    idempotency_key: RoomKey = None,
) -> Response:
    """Make a room with its conversation, send the swarm there, and let the user in.

    While no server has a free place the swarm waits in line (202), and `swarm` says where.
    """
    wanted = decoded(Automatic, given)
    new = NewRoom(team=wanted.team, user_id=wanted.user)
    id = id_for(caller, None, idempotency_key)
    room, _ = await make_room(rooms, service, caller, new, id)
    admission = await admission_to(room, service, caller, Wanted(identity=wanted.user))
    queued = await rooms.send_swarm(room)
    rooms.tokens_made += 1
    there = (livekit.shown_url, keys.token(admission), room.id, room.conversation_id)
    session = SessionBegun(*there, sent(queued))
    return json_response(session, 202 if queued.state == "waiting" else 201)
