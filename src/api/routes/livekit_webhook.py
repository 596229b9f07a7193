"""What LiveKit tells us of rooms: who came and went, what began and ended."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from src.api import headers
from src.api.dependencies import LiveKitKeysOf, RoomsOf
from src.api.schemas.openapi import answer, problems

PATH = "/webhooks/livekit"

router = APIRouter(tags=["rooms"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A WebhookEvent of LiveKit, as its JSON; the signature is of these bytes",
        "content": {
            "application/webhook+json": {
                "schema": {"type": "object"},
                "example": {"id": "EV_6AwJGVV93i8p", "event": "room_started"},
            }
        },
    }
}


@router.post(
    PATH,
    response_class=Response,
    summary="Hear LiveKit",
    openapi_extra=_BODY,
    responses=answer(None, "Heard, now or before") | problems(413),
)
async def hear(request: Request, keys: LiveKitKeysOf, rooms: RoomsOf) -> Response:
    """Take a message of LiveKit, signed in `Authorization` with the secret of our key.

    A message that comes again changes nothing. Other answers than 2xx have LiveKit send it again.
    """
    signature = headers.find(request.scope["headers"], b"authorization")
    heard = keys.heard(
        await request.body(), None if signature is None else signature.decode("latin-1")
    )
    if heard is not None:
        await rooms.hear(heard)
    return Response(status_code=200)
