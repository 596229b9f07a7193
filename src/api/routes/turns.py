"""Turns of a conversation: read pages of them, add one, save an exchange."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from src.api import headers
from src.api.auth.idempotency import key_of
from src.api.auth.rules import check_read
from src.api.bodies import Body
from src.api.dependencies import (
    ID,
    KEY,
    AtLeast,
    Caller,
    ConversationId,
    JsonBody,
    Limit,
    Service,
    Wish,
    WriteWish,
)
from src.api.schemas.answers import MessageList, Posted, Saved, SessionList, json_response
from src.api.schemas.openapi import answer, body, problems
from src.api.writing import save_turn, say
from src.state.errors import Refused
from src.state.models import Durability, event_id
from src.swarm.shapes.bounds import Id
from src.swarm.shapes.commands import PostMessage, SaveTurn

router = APIRouter(prefix="/conversations", tags=["turns"])

_POSTED = {
    "id": "0198c0de-0000-7000-8000-000000000000:0",
    "conversation_id": "c-1",
    "version": "1.8",
    "durability": "logged",
    "repeated": False,
}
_SAVED = {"status": "saved", "version": "1.9", "durability": "logged", "repeated": False}
_TURN = {
    "conversation_id": "c-1",
    "user_message": "Where were we?",
    "assistant_message": "At the venue.",
}
_ids = msgspec.json.Decoder(Id)
_keys = msgspec.json.Decoder(Annotated[str, msgspec.Meta(pattern=KEY)])


@router.get(
    "/{conversation_id}/messages",
    summary="Read messages",
    responses=answer(MessageList, "A page, newest first") | problems(404),
)
async def messages(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    at_least: AtLeast,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before"),
    ] = None,
    limit: Limit = 50,
) -> Response:
    """Read a page of messages, complete up to the newest logged one."""
    found = await service.read(conversation_id, at_least=at_least)
    check_read(caller, found.entry.state)
    before = None if cursor is None else int(cursor)
    page = await service.messages(conversation_id, before=before, limit=limit)
    return json_response(
        MessageList(conversation_id, page.messages, page.next_cursor, page.as_of.token),
        headers={"X-Swarm-Version": page.as_of.token},
    )


@router.get(
    "/{conversation_id}/sessions",
    summary="Read sessions",
    responses=answer(SessionList, "A page, newest first") | problems(404),
)
async def sessions(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before"),
    ] = None,
    limit: Limit = 50,
) -> Response:
    """Read what each life of the conversation's room was, once it is over: who spoke, how long, and
    what about.
    """
    found = await service.read(conversation_id)
    check_read(caller, found.entry.state)
    before = None if cursor is None else int(cursor)
    page = await service.sessions(conversation_id, before=before, limit=limit)
    return json_response(SessionList(conversation_id, page.sessions, page.next_cursor))


@router.post(
    "/{conversation_id}/messages",
    status_code=201,
    summary="Add a message",
    openapi_extra=body(
        PostMessage,
        {"text": "Shall we begin?"},
        without=("type",),
        optional=("author",),
    ),
    responses=answer(Posted, "Added", status=201, example=_POSTED)
    | answer(Posted, "Pending: to be logged when PostgreSQL is back", status=202)
    | problems(404, 409, 412, 413),
)
async def post_message(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    given: JsonBody,
    wish: WriteWish,
) -> Response:
    """Add one turn; without `author` it is the caller's."""
    receipt = await say(service, caller, conversation_id, given, wish)
    message_id = given.get("id") or event_id(wish.key, 0)
    version, durability = receipt.version, receipt.durability
    return json_response(
        Posted(message_id, conversation_id, version.token, durability, receipt.repeated),
        202 if durability is Durability.PENDING else 201,
        headers.of_write(version, durability),
    )


@router.post(
    "/save-turn",
    summary="Save an exchange",
    openapi_extra=body(
        SaveTurn,
        _TURN,
        without=("type",),
        extra={
            "conversation_id": {"type": "string", "pattern": ID},
            "idempotency_key": {
                "anyOf": [{"type": "string", "pattern": KEY}, {"type": "null"}],
                "description": "As the header Idempotency-Key, for clients that cannot set it",
            },
        },
        needed=("conversation_id",),
    ),
    responses=answer(Saved, "Saved", example=_SAVED) | problems(404, 409, 412, 413),
)
async def save(service: Service, caller: Caller, given: JsonBody, wish: WriteWish) -> Response:
    """Add what a user said and what the assistant answered, both or neither."""
    rest = dict(given)
    conversation_id = _taken(rest, "conversation_id", _ids)
    if conversation_id is None:
        detail = "conversation_id is missing; say which conversation the turn belongs to"
        raise Refused("invalid", detail, field="conversation_id")
    key = _taken(rest, "idempotency_key", _keys)
    if key is not None and not wish.key_given:
        wish = Wish(key_of(caller, key), wish.if_version, wish.durability, wish.at_least, True)
    receipt = await save_turn(service, caller, conversation_id, rest, wish)
    version, durability = receipt.version, receipt.durability
    return json_response(
        Saved("saved", version.token, durability, receipt.repeated),
        headers=headers.of_write(version, durability),
    )


def _taken(body: Body, name: str, ids: msgspec.json.Decoder[str]) -> str | None:
    value = body.pop(name, None)
    if value is None:
        return None
    try:
        return ids.decode(msgspec.json.encode(value))
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"{name}: {error}", field=name) from error
