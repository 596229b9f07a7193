"""Keys of services, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from src.api.auth.forms import KeyList, KeyMade, NewKey
from src.api.auth.principals import Right
from src.api.bodies import decoded
from src.api.dependencies import ID, Caller, JsonBody, KeysOf, Limit, needs
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, problems

router = APIRouter(prefix="/api-keys", tags=["people"], dependencies=[needs(Right.MANAGE_PEOPLE)])


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    openapi_extra=body(NewKey, {"name": "worker", "roles": ["service"]}),
    responses=answer(KeyMade, "Created; the key is shown this once", status=201)
    | problems(409, 413),
)
async def create(keys: KeysOf, caller: Caller, given: JsonBody) -> Response:
    """Make a key for a service, to be sent as `Authorization: Bearer ssk_...`."""
    made = await keys.make(caller, decoded(NewKey, given))
    return json_response(made, 201, {"Cache-Control": "no-store"})


@router.get(
    "",
    summary="List API keys",
    responses=answer(KeyList, "A page, in order of id; the keys masked") | problems(),
)
async def list_all(
    keys: KeysOf,
    cursor: Annotated[
        str | None, Query(pattern=ID, description="`next_cursor` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """List keys, expired ones included."""
    found, following = await keys.list(cursor, limit)
    return json_response(KeyList(tuple(found), following))


@router.delete(
    "/{key_id}",
    status_code=204,
    summary="Delete an API key",
    responses=answer(None, "No server takes it any more", status=204) | problems(404),
)
async def delete(
    key_id: Annotated[str, Path(pattern=ID, description="The key's id")],
    keys: KeysOf,
    caller: Caller,
) -> Response:
    """End a key, on every server within 2 s."""
    await keys.delete(caller, key_id)
    return Response(status_code=204)
