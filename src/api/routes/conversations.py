"""Conversations: begin, list, read, configure, command, delete."""

from __future__ import annotations

from typing import Annotated, cast

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from src.api import headers, writing
from src.api.auth.principals import Right
from src.api.auth.rules import check_read, check_right
from src.api.bodies import command
from src.api.dependencies import (
    CURSOR,
    ID,
    AtLeast,
    Caller,
    ConversationId,
    Eraser,
    JsonBody,
    Limit,
    Service,
    WriteWish,
    metered,
)
from src.api.errors import Forbidden
from src.api.ids import id_of, new_id
from src.api.rate_limits import Metered, RateLimits
from src.api.schemas.answers import ConversationList, Written, json_response
from src.api.schemas.openapi import ANY_COMMAND, answer, body, json_body, problems
from src.api.schemas.structs import patch_schema
from src.api.writing import submit
from src.state.errors import Refused
from src.state.models import Read, Where
from src.swarm.forwarding import Receipt
from src.swarm.shapes.codec import decode_command
from src.swarm.shapes.commands import BEGINNINGS, Create, Delete, PatchConfig
from src.swarm.shapes.config import Config
from src.swarm.shapes.models import ConversationState

router = APIRouter(prefix="/conversations", tags=["conversations"])

_PLACE = rf"^[0-9]{{1,17}}~{ID[1:]}"
_WRITTEN = {"id": "c-1", "version": "1.7", "durability": "logged", "repeated": False}
_BEGIN = {
    "id": "c-1",
    "config": {"goal": "Plan the launch", "responder": {"default_bot": "ada"}},
    "participants": [
        {"id": "ada", "kind": "bot", "name": "Ada"},
        {"id": "zoe", "kind": "person", "name": "Zoe", "user_id": "zoe"},
    ],
}


@router.post(
    "",
    status_code=201,
    summary="Begin a conversation",
    dependencies=[metered(Metered.BEGIN)],
    openapi_extra=body(Create, _BEGIN, without=("type",), optional=("id",)),
    responses=answer(Written, "Begun", status=201, example=_WRITTEN) | problems(409, 413),
)
async def begin(service: Service, caller: Caller, given: JsonBody, wish: WriteWish) -> Response:
    """Begin a conversation; without an `id` the server makes one.

    Values that its team has for the blackboard are on it, beside those given here.
    """
    check_right(caller, Right.TALK)
    id = id_of(caller.id, wish.key) if wish.key_given else new_id()
    create = command("create", given, id=id)
    assert isinstance(create, Create)
    receipt = await service.submit(
        create.id,
        await service.in_force.begun(create),
        key=wish.key,
        actor=caller.id,
        durability=wish.durability,
        create=True,
    )
    place = {"Location": f"/api/v1/conversations/{create.id}"}
    return _written(create.id, receipt, status=201, extra=place)


@router.get(
    "",
    summary="List conversations",
    responses=answer(ConversationList, "A page, newest first") | problems(),
)
async def list_conversations(
    service: Service,
    caller: Caller,
    member: Annotated[
        str | None, Query(pattern=ID, description="Those of one creator or participant")
    ] = None,
    cursor: Annotated[str | None, Query(pattern=_PLACE, description=CURSOR)] = None,
    limit: Limit = 50,
) -> Response:
    """List conversations; a member gets its own."""
    if not caller.reads_all:
        check_right(caller, Right.TALK)
        if member not in (None, caller.id):
            raise Forbidden("members list their own conversations; leave `member` out")
        member = caller.id
    page = await service.list(member=member, cursor=cursor, limit=limit)
    return json_response(ConversationList(page.conversations, page.next_cursor, page.as_of))


@router.get(
    "/{conversation_id}",
    summary="Read a conversation",
    responses=answer(ConversationState, "The whole state, as of the ETag's version")
    | answer(None, "If-None-Match names the present version", status=304)
    | problems(404),
)
async def read(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    at_least: AtLeast,
    if_none_match: Annotated[str | None, Header(description="An ETag you have")] = None,
) -> Response:
    """Read the state from the nearest tier that has it fresh; the headers say which one."""
    entry = service.peek(conversation_id)
    pending = service.pending(conversation_id)
    if (
        entry is None
        or pending
        or entry.state.status == "deleted"
        or (at_least is not None and entry.version < at_least)
    ):
        found = await service.read(conversation_id, at_least=at_least)
    else:
        found = Read(entry, Where.L1)
    check_read(caller, found.entry.state)
    known = if_none_match is not None and headers.matches(if_none_match, found.entry.etag)
    content = b"" if known else service.body(found.entry)
    response = Response(status_code=304 if known else 200)
    response.body = content
    response.raw_headers = headers.of_state(
        found.entry, found.where, found.stale_s, None if known else len(content)
    ) + headers.of_pending(pending)
    return response


@router.delete(
    "/{conversation_id}",
    status_code=204,
    summary="Delete a conversation",
    dependencies=[metered(Metered.DELETE)],
    responses=answer(None, "Deleted", status=204) | problems(404, 409, 412),
)
async def delete(
    conversation_id: ConversationId,
    service: Service,
    eraser: Eraser,
    caller: Caller,
    wish: WriteWish,
    erase: Annotated[
        bool, Query(description="Remove its log too: nothing of what was said remains")
    ] = False,
) -> Response:
    """Delete for good, in every tier; the id is not used again.

    The log keeps what was said until it is erased, which may also be asked for later.
    """
    if erase:
        await writing.erase(service, eraser, caller, conversation_id, wish)
        return Response(status_code=204)
    receipt = await submit(service, caller, conversation_id, Delete(), wish)
    return Response(status_code=204, headers=headers.of_write(receipt.version, receipt.durability))


@router.patch(
    "/{conversation_id}/config",
    summary="Change a conversation's config",
    openapi_extra=json_body(
        patch_schema(Config) | {"description": "A JSON merge patch (RFC 7396) of the config"},
        {"goal": "Ship it", "limits": {"tool_calls": 20}},
    ),
    responses=answer(Written, "Changed", example=_WRITTEN) | problems(404, 409, 412, 413),
)
async def patch_config(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    given: JsonBody,
    wish: WriteWish,
) -> Response:
    """Apply a merge patch: null puts a field back to its default."""
    asked = PatchConfig(msgspec.Raw(msgspec.json.encode(given)))
    receipt = await submit(service, caller, conversation_id, asked, wish)
    return _written(conversation_id, receipt)


@router.post(
    "/{conversation_id}/commands",
    summary="Submit a command",
    openapi_extra=json_body(
        ANY_COMMAND, {"type": "blackboard", "set": [{"id": "venue", "value": "hall 3"}]}
    ),
    responses=answer(Written, "Taken", example=_WRITTEN) | problems(404, 409, 412, 413),
)
async def submit_command(
    request: Request,
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    given: JsonBody,
    wish: WriteWish,
) -> Response:
    """Submit any command: blackboard, subtasks, baton, participants, approvals, status."""
    asked = decode_command(msgspec.json.encode(given))
    if isinstance(asked, BEGINNINGS):
        detail = "that begins a conversation; POST /api/v1/conversations or .../{id}/branch does"
        raise Refused("invalid", detail, field="type")
    limits = cast("RateLimits", request.app.state.rate_limits)
    await limits.command(request, caller, asked)
    receipt = await submit(service, caller, conversation_id, asked, wish)
    return _written(conversation_id, receipt)


def _written(
    id: str, receipt: Receipt, *, status: int = 200, extra: dict[str, str] | None = None
) -> Response:
    version, durability = receipt.version, receipt.durability
    return json_response(
        Written(id, version.token, durability, receipt.repeated),
        status,
        headers.of_write(version, durability) | (extra or {}),
    )
