"""What servers ask of each other; no user's token opens this."""

from __future__ import annotations

from typing import cast

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from src.api import headers
from src.api.bodies import read_object
from src.api.dependencies import ConversationId, Service
from src.api.schemas.answers import encode
from src.state.errors import Refused
from src.swarm.errors import NotAServer
from src.swarm.forwarding import decode_forwarded
from src.swarm.internal_tokens import InternalTokens

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
        if_seq=asked.if_seq,
        durability=asked.durability,
        create=asked.create,
    )
    return Response(encode(receipt), media_type="application/json")


def _check_server(request: Request) -> None:
    given = headers.find(request.scope["headers"], b"authorization") or b""
    scheme, _, token = given.partition(b" ")
    if scheme != b"Bearer":
        raise NotAServer("no token")
    cast("InternalTokens", request.state.internal).verify(token.decode("latin-1"))
