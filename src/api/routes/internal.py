"""What servers ask of each other; no user's token opens this."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from src.api import headers
from src.api.bodies import read_object
from src.api.dependencies import ConversationId, Service
from src.api.schemas.answers import encode
from src.state.errors import Refused
from src.swarm.errors import NotAServer
from src.swarm.forwarding import AskedFor, Given, decode_forwarded
from src.swarm.internal_tokens import InternalTokens

Asked = TypeVar("Asked", AskedFor, Given)

router = APIRouter(prefix="/internal/v1", include_in_schema=False)


@router.post("/conversations/{conversation_id}/commands")
async def take(request: Request, conversation_id: ConversationId, service: Service) -> Response:
    """Take a command as the owner; 421 names the owner when it is another server."""
    _check_server(request)
    body = await request.body()
    read_object(body)
    try:
        command, asked = decode_forwarded(body)
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"the forwarded command: {error}", field="body") from error
    receipt = await service.submit_here(
        conversation_id,
        command,
        key=asked.key,
        actor=asked.actor,
        if_version=asked.if_version,
        durability=asked.durability,
        create=asked.create,
    )
    return Response(encode(receipt), media_type="application/json")


@router.post("/conversations/{conversation_id}/give")
async def give(request: Request, conversation_id: ConversationId, service: Service) -> Response:
    """Give a conversation to the server that hosts its room; 421 names another owner."""
    _check_server(request)
    asked = _decode(await request.body(), AskedFor)
    await service.handover.give(conversation_id, asked.to)
    return Response(b"{}", media_type="application/json")


@router.post("/given")
async def given(request: Request, service: Service) -> Response:
    """Go on with conversations that another server has given to this one."""
    _check_server(request)
    asked = _decode(await request.body(), Given)
    taken = await service.handover.take(asked.ids)
    return Response(encode({"taken": taken}), media_type="application/json")


def _decode(body: bytes, kind: type[Asked]) -> Asked:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Refused("invalid", str(error), field="body") from error


def _check_server(request: Request) -> None:
    given = headers.find(request.scope["headers"], b"authorization") or b""
    scheme, _, token = given.partition(b" ")
    if scheme != b"Bearer":
        raise NotAServer("no token")
    cast("InternalTokens", request.state.internal).verify(token.decode("latin-1"))
