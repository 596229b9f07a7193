"""Outbound webhooks: who is told of changes of configs by signed HTTP requests."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from src.api.auth.principals import Right
from src.api.dependencies import ID, Caller, IfVersion, JsonBody, Limit, Webhooks, needs
from src.api.ids import new_id
from src.api.schemas import webhooks as shapes
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.structs import patch_schema
from src.api.schemas.webhooks import (
    DeliveryList,
    Tested,
    WebhookItem,
    WebhookList,
    WebhookMade,
)
from src.state.errors import Refused
from src.state.records.webhooks import Webhook
from src.swarm.shapes.bounds import Id
from src.swarm.webhooks.service import WebhookConfig

# Addresses often hold what must not be seen by who may only read.
router = APIRouter(prefix="/webhooks", tags=["webhooks"], dependencies=[needs(Right.WRITE_CONFIGS)])

_ids = msgspec.json.Decoder(Id)
_ID_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": ID}, {"type": "null"}],
    "description": "Made by the server if left out",
}
_EXAMPLE = {"url": "https://example.com/swarmstate", "kinds": ["bot", "team"]}

WebhookId = Annotated[str, Path(pattern=ID, description="The webhook")]


@router.post(
    "",
    status_code=201,
    summary="Create a webhook",
    openapi_extra=body(WebhookConfig, _EXAMPLE, extra={"id": _ID_SCHEMA}),
    responses=answer(WebhookMade, "With its secret, shown once", status=201) | problems(409, 413),
)
async def create(webhooks: Webhooks, caller: Caller, given: JsonBody) -> Response:
    """Be told of every change committed from now on, signed as Standard Webhooks says."""
    rest = dict(given)
    id = _id(rest.pop("id", None)) or new_id()
    made = await webhooks.create(id, msgspec.json.encode(rest), caller.id)
    return json_response(
        shapes.made(made), 201, {"Location": f"/api/v1/webhooks/{id}", **_etag(made)}
    )


@router.get("", summary="List webhooks", responses=answer(WebhookList, "A page") | problems())
async def list_all(
    webhooks: Webhooks,
    cursor: Annotated[
        str | None, Query(pattern=ID, description="`next_cursor` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """List webhooks in order of id."""
    found, following = await webhooks.list(cursor, limit)
    return json_response(WebhookList(tuple(map(shapes.item, found)), following))


@router.get(
    "/{webhook_id}",
    summary="Read a webhook",
    responses=answer(WebhookItem, "Where it stands") | problems(404),
)
async def read(webhook_id: WebhookId, webhooks: Webhooks) -> Response:
    """Read what it wants, how far it has been told, and what is wrong with it."""
    return _shown(await webhooks.get(webhook_id))


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    openapi_extra=json_body(
        patch_schema(WebhookConfig) | {"description": "A JSON merge patch (RFC 7396)"},
        {"active": True},
    ),
    responses=answer(WebhookItem, "The next version") | problems(404, 409, 412, 413),
)
async def patch(
    webhook_id: WebhookId, webhooks: Webhooks, given: JsonBody, if_version: IfVersion
) -> Response:
    """Change what is given; its next message is tried at once."""
    return _shown(await webhooks.patch(webhook_id, given, if_version))


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=answer(None, "Deleted, with the log of its deliveries", status=204)
    | problems(404, 412),
)
async def delete(webhook_id: WebhookId, webhooks: Webhooks, if_version: IfVersion) -> Response:
    """Tell it nothing more."""
    await webhooks.delete(webhook_id, if_version)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/rotate",
    summary="Change its secret",
    responses=answer(WebhookMade, "With the new secret, shown once") | problems(404),
)
async def rotate(webhook_id: WebhookId, webhooks: Webhooks) -> Response:
    """Sign with a new secret; for a day the one before signs beside it."""
    rotated = await webhooks.rotate(webhook_id)
    return json_response(shapes.made(rotated), headers=_etag(rotated))


@router.post(
    "/{webhook_id}/test",
    summary="Send a test message",
    responses=answer(Tested, "What came of it") | problems(404),
)
async def test(webhook_id: WebhookId, webhooks: Webhooks) -> Response:
    """Send a message of the type `webhook.test` now, once, also to one that is not active."""
    message_id, outcome = await webhooks.test(webhook_id)
    return json_response(Tested(message_id, outcome.delivered, outcome.status, outcome.error))


@router.get(
    "/{webhook_id}/deliveries",
    summary="Read deliveries",
    responses=answer(DeliveryList, "Tries, newest first") | problems(404),
)
async def deliveries(
    webhook_id: WebhookId,
    webhooks: Webhooks,
    before: Annotated[
        int | None, Query(ge=1, le=2**53 - 1, description="`next_before` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """Read every try: message, status, error, when the next one is due."""
    found = await webhooks.deliveries(webhook_id, before, limit)
    following = found[-1].number if len(found) == limit else None
    return json_response(DeliveryList(tuple(found), following))


def _shown(webhook: Webhook) -> Response:
    return json_response(shapes.item(webhook), headers=_etag(webhook))


def _etag(webhook: Webhook) -> dict[str, str]:
    return {"ETag": f'"{webhook.version}"'}


def _id(value: object) -> str | None:
    if value is None:
        return None
    try:
        return _ids.decode(msgspec.json.encode(value))
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"id: {error}", field="id") from error
