"""Sessions: what was said in one is saved at its end, with what the log lacks of it."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from src.api import headers
from src.api.bodies import decoded
from src.api.dependencies import Caller, JsonBody, Service, WriteWish
from src.api.schemas.answers import SessionKept, json_response
from src.api.schemas.openapi import answer, body, problems
from src.api.schemas.requests import Session
from src.api.writing import save_session
from src.swarm.shapes.commands import NewParticipant, SaveSession

router = APIRouter(prefix="/sessions", tags=["turns"])

_SESSION = {
    "conversation_id": "c-1",
    "messages": [
        {"role": "user", "text": "Where were we?", "started_at": "2026-01-02T03:04:05Z"},
        {"role": "assistant", "text": "At the venue.", "started_at": "2026-01-02T03:04:07Z"},
    ],
    "participants": {"zoe": {"name": "Zoe"}, "ada": {"kind": "bot", "name": "Ada"}},
    "duration": 12.5,
}
_KEPT = {
    "status": "saved",
    "summary_id": "session-1f0c",
    "version": "1.9",
    "durability": "logged",
    "repeated": False,
}


_encoder = msgspec.json.Encoder(order="sorted")


@router.post(
    "/save",
    summary="Save a session",
    openapi_extra=body(Session, _SESSION),
    responses=answer(SessionKept, "Saved", example=_KEPT) | problems(404, 409, 412, 413),
)
async def save(service: Service, caller: Caller, given: JsonBody, wish: WriteWish) -> Response:
    """Save a session's turns, but for those that were logged while it lasted.

    These are recognised by their id, else by author, text and time. The same session again changes
    nothing, whatever its Idempotency-Key.
    """
    session = decoded(Session, given)
    members = tuple(
        NewParticipant(name, one.kind, one.name or name, one.role, user_id=one.user_id)
        for name, one in session.participants.items()
    )
    summary_id = f"session-{sha256(_encoder.encode(session)).hexdigest()[:32]}"
    command = SaveSession(summary_id, session.messages, members, session.duration)
    receipt = await save_session(service, caller, session.conversation_id, command, wish)
    version, durability = receipt.version, receipt.durability
    return json_response(
        SessionKept("saved", summary_id, version.token, durability, receipt.repeated),
        headers=headers.of_write(version, durability),
    )
