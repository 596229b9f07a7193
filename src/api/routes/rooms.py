"""Rooms on LiveKit: make, list, read, change, end, send the swarm there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from msgspec import Raw
from starlette.responses import Response

from src.api.auth.idempotency import key_of
from src.api.auth.principals import Principal, Right
from src.api.auth.rules import check_read, check_right
from src.api.bodies import decoded
from src.api.dependencies import (
    ID,
    KEY,
    Caller,
    IfVersion,
    JsonBody,
    Limit,
    RoomId,
    RoomsOf,
    Service,
    files_of,
    metered,
    needs,
)
from src.api.ids import id_of, new_id
from src.api.livekit.admissions import check_change, check_send
from src.api.livekit.making import make_room
from src.api.rate_limits import Metered
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.rooms import (
    AgentJoined,
    NewRoom,
    RecordingState,
    RecordingWished,
    RoomEdit,
    RoomItem,
    RoomList,
    SwarmSent,
    item,
    sent,
)
from src.api.schemas.structs import patch_schema
from src.state.errors import Refused
from src.state.records.rooms import Room
from src.swarm.rooms.service import RoomService
from src.swarm.service import SwarmService
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import PatchConfig, SetParticipantState
from src.swarm.shapes.models import ConversationState

router = APIRouter(prefix="/rooms", tags=["rooms"])

_NEW = {"name": "Algebra", "bots": ["ada", "bob"]}
_ROOM = {
    "room_id": "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b",
    "name": "Algebra",
    "conversation_id": "01a1b2c3-d4e5-7f60-8a9b-0c1d2e3f4a5b",
    "open": False,
    "live": True,
    "sid": "RM_VcubJykuzjTv",
    "agent": "",
    "swarm": False,
    "dispatch_id": None,
    "version": 1,
    "created_by": "zoe",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
}
SENT = {
    "room_id": _ROOM["room_id"],
    "conversation_id": _ROOM["room_id"],
    "dispatch_id": "AD_yGyuqiU3QsDe",
    "state": "placed",
    "position": None,
    "enqueued_at": "2026-01-02T03:04:05Z",
    "deadline": "2026-01-02T03:06:05Z",
    "attempts": 1,
    "why": "",
    "agent_name": "swarmstate",
}
WAITING = {**SENT, "dispatch_id": None, "state": "waiting", "position": 3, "attempts": 0}

_RECORDED = {
    "room_id": _ROOM["room_id"],
    "conversation_id": _ROOM["room_id"],
    "wanted": True,
    "under_way": False,
}

RoomKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY,
        description="Repeat a request with the same key and it is the same room",
    ),
]


def id_for(caller: Principal, given: str | None, key: str | None) -> str:
    """Return the id of a room that is asked for: the same for a repeated request."""
    if given is not None:
        return given
    return new_id() if key is None else id_of("room", key_of(caller, key))


@router.post(
    "",
    status_code=201,
    summary="Make a room",
    dependencies=[metered(Metered.BEGIN)],
    openapi_extra=body(NewRoom, _NEW),
    responses=answer(RoomItem, "Made, with its conversation", status=201, example=_ROOM)
    | answer(RoomItem, "It was there already", example=_ROOM)
    | problems(404, 409, 413),
)
async def create(
    caller: Caller,
    rooms: RoomsOf,
    service: Service,
    given: JsonBody,
    idempotency_key: RoomKey = None,
) -> Response:
    """Make a room and the conversation that it is the voice of, or give one a voice.

    Making it again, by its id or with the same Idempotency-Key, finds it and repairs what was left
    half done.
    """
    new = decoded(NewRoom, given)
    id = id_for(caller, new.id, idempotency_key)
    room, made = await make_room(rooms, service, caller, new, id)
    return _shown(room, 201 if made else 200, {"Location": f"/api/v1/rooms/{room.id}"})


@router.get("", summary="List rooms", responses=answer(RoomList, "A page") | problems())
async def list_all(
    caller: Caller,
    rooms: RoomsOf,
    cursor: Annotated[
        str | None, Query(pattern=ID, description="`next_cursor` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """List rooms in order of id; a member gets those of its conversations, a new one after 2 s."""
    if not caller.reads_all:
        check_right(caller, Right.TALK)
    found, following = await rooms.list(None if caller.reads_all else caller.id, cursor, limit)
    return json_response(RoomList(tuple(map(item, found)), following))


@router.get(
    "/{room_id}", summary="Read a room", responses=answer(RoomItem, "A room") | problems(404)
)
async def read(room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service) -> Response:
    """Read a room, and what is known of its life on LiveKit."""
    room, state = await _room(rooms, service, room_id)
    check_read(caller, state)
    return _shown(room)


@router.patch(
    "/{room_id}",
    summary="Change a room",
    openapi_extra=json_body(
        patch_schema(RoomEdit) | {"description": "A JSON merge patch (RFC 7396)"}, {"open": True}
    ),
    responses=answer(RoomItem, "The next version") | problems(404, 409, 412, 413),
)
async def patch(
    room_id: RoomId,
    caller: Caller,
    rooms: RoomsOf,
    service: Service,
    given: JsonBody,
    if_version: IfVersion,
) -> Response:
    """Rename a room, open it to guests or close it to them; who is in stays in."""
    room, state = await _room(rooms, service, room_id)
    check_change(caller, state, room)
    present = {"name": room.name, "open": room.open}
    edit = decoded(RoomEdit, free_json.merge_patch(present, given))
    return _shown(await rooms.edit(room, edit.name, edit.open, if_version))


@router.delete(
    "/{room_id}",
    status_code=204,
    summary="End a room",
    dependencies=[metered(Metered.DELETE)],
    responses=answer(None, "Ended", status=204) | problems(404, 409, 412),
)
async def delete(
    room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service, if_version: IfVersion
) -> Response:
    """Put everybody out and end the room for good; its conversation stays."""
    room, state = await _room(rooms, service, room_id)
    check_change(caller, state, room)
    await rooms.delete(room, if_version)
    return Response(status_code=204)


@router.post(
    "/{room_id}/swarm",
    summary="Send the swarm",
    responses=answer(SwarmSent, "On its way, or there", example=SENT)
    | answer(SwarmSent, "In line: no server has a free place", status=202, example=WAITING)
    | problems(404, 409),
)
async def send_swarm(room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service) -> Response:
    """Have the conversation's bots come into the room, once, however often this is asked.

    They come again by themselves when people return to a room that was empty. While no server has
    a free place they wait in line, at most until `deadline`; asking again shows where, and puts a
    swarm that has waited in vain at the end of the line.
    """
    room, state = await _room(rooms, service, room_id)
    check_send(caller, state)
    queued = await rooms.send_swarm(room)
    if queued.state == "dead":
        detail = f"it was tried {queued.attempts} times ({queued.why}), and waits for an operator: "
        raise Refused("swarm_dead", f"{detail}`swarmstate queue requeue {room.id}`")
    return json_response(sent(queued), 202 if queued.state == "waiting" else 200)


@router.get(
    "/{room_id}/swarm",
    summary="Read how the swarm comes",
    responses=answer(SwarmSent, "Where it stands", example=SENT) | problems(404),
)
async def read_swarm(room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service) -> Response:
    """Say where the swarm of a room stands: in line, on its way or there, or given up.

    404 when nobody asked for one since the room was last empty.
    """
    room, state = await _room(rooms, service, room_id)
    check_read(caller, state)
    return json_response(sent(await rooms.swarm_of(room)))


@router.post(
    "/{room_id}/recording",
    summary="Record a room, or stop",
    openapi_extra=body(RecordingWished, {"recording": True}),
    responses=answer(RecordingState, "Wished; the host obeys within a second", example=_RECORDED)
    | problems(404, 409, 413),
)
async def record(
    room_id: RoomId,
    caller: Caller,
    rooms: RoomsOf,
    service: Service,
    request: Request,
    given: JsonBody,
) -> Response:
    """Have all that is heard in a room kept as files of its conversation, until it is stopped.

    It is the conversation's `config.policy.recording`, and holds in later lives of the room too.
    Who made the room, or began its conversation, may ask for it. Everybody in the room sees it, by
    the attribute `swarmstate.recording` of the swarm's agent.
    """
    wished = decoded(RecordingWished, given)
    room, state = await _room(rooms, service, room_id)
    check_change(caller, state, room)
    if wished.recording:
        # Only then: a recording can be stopped whatever is missing.
        await files_of(request)
    patch = PatchConfig(Raw(free_json.write({"policy": {"recording": wished.recording}})))
    await service.submit(state.id, patch, key=new_id(), actor=caller.id)
    under_way = await rooms.recorded(room)
    return json_response(RecordingState(room.id, state.id, wished.recording, under_way))


@router.get(
    "/{room_id}/recording",
    summary="Read whether a room is recorded",
    responses=answer(RecordingState, "How it is now", example=_RECORDED) | problems(404),
)
async def read_recording(
    room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service
) -> Response:
    """Say whether a room is to be recorded, and whether it is recorded now."""
    room, state = await _room(rooms, service, room_id)
    check_read(caller, state)
    wanted = await service.in_force.recording(state)
    return json_response(RecordingState(room.id, state.id, wanted, await rooms.recorded(room)))


@router.post(
    "/{room_id}/agent-joined",
    status_code=204,
    summary="Say that an agent has joined",
    dependencies=[needs(Right.WRITE_CONVERSATIONS)],
    openapi_extra=body(AgentJoined, {"agent_identity": "agent-AJ_7f60", "bot_id": "ada"}),
    responses=answer(None, "Noted", status=204) | problems(404, 409, 413),
)
async def agent_joined(
    room_id: RoomId, caller: Caller, rooms: RoomsOf, service: Service, given: JsonBody
) -> Response:
    """Say, as a worker, that the swarm's agent is in the room; with `bot_id`, that a bot is ready.

    The first is noted on the room, the second is an event of its conversation.
    """
    joined = decoded(AgentJoined, given)
    room, _ = await _room(rooms, service, room_id)
    if joined.bot_id is None:
        await rooms.agent_joined(room, joined.agent_identity)
    else:
        ready = SetParticipantState(joined.bot_id, "ready")
        await service.submit(room.conversation_id, ready, key=new_id(), actor=caller.id)
    return Response(status_code=204)


async def _room(
    rooms: RoomService, service: SwarmService, room_id: str
) -> tuple[Room, ConversationState]:
    room = await rooms.get(room_id)
    return room, (await service.read(room.conversation_id)).entry.state


def _shown(room: Room, status: int = 200, extra: dict[str, str] | None = None) -> Response:
    return json_response(item(room), status, {"ETag": f'"{room.version}"', **(extra or {})})
