"""Users, for administrators: who there is, as what, and whether they may come in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from src.api.auth.accounts import person_of
from src.api.auth.forms import NewUser, Person, PersonList, UserEdit
from src.api.auth.principals import Right
from src.api.bodies import decoded
from src.api.dependencies import ID, AccountsOf, Caller, IfVersion, JsonBody, Limit, needs
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.structs import patch_schema
from src.state.records.users import User

router = APIRouter(prefix="/users", tags=["people"], dependencies=[needs(Right.MANAGE_PEOPLE)])

UserId = Annotated[str, Path(pattern=ID, description="The user")]

_NEW = {
    "email": "zoe@example.org",
    "password": "correct horse battery",
    "name": "Zoe",
    "roles": ["member"],
}


@router.post(
    "",
    status_code=201,
    summary="Create a user",
    openapi_extra=body(NewUser, _NEW),
    responses=answer(Person, "Created", status=201) | problems(409, 413),
)
async def create(accounts: AccountsOf, given: JsonBody) -> Response:
    """Make a user, whether or not registration is open."""
    user = await accounts.create(decoded(NewUser, given))
    response = _shown(user, 201)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return response


@router.get(
    "", summary="List users", responses=answer(PersonList, "A page, in order of id") | problems()
)
async def list_all(
    accounts: AccountsOf,
    email: Annotated[
        str | None, Query(max_length=254, description="The one with this email")
    ] = None,
    cursor: Annotated[
        str | None, Query(pattern=ID, description="`next_cursor` of the page before")
    ] = None,
    limit: Limit = 50,
) -> Response:
    """List users who were not deleted."""
    found, following = await accounts.list(cursor, limit, email)
    return json_response(PersonList(tuple(map(person_of, found)), following))


@router.get(
    "/{user_id}",
    summary="Read a user",
    responses=answer(Person, "The present version") | problems(404),
)
async def read(user_id: UserId, accounts: AccountsOf) -> Response:
    """Read a user; its preferences are its own."""
    return _shown(await accounts.get(user_id))


@router.patch(
    "/{user_id}",
    summary="Change a user",
    openapi_extra=json_body(
        patch_schema(UserEdit) | {"description": "A JSON merge patch (RFC 7396)"},
        {"roles": ["member", "editor"]},
    ),
    responses=answer(Person, "The next version") | problems(404, 409, 412, 413),
)
async def edit(
    user_id: UserId,
    accounts: AccountsOf,
    caller: Caller,
    given: JsonBody,
    if_version: IfVersion,
) -> Response:
    """Change name, roles or status. Other roles, or another status, end what the user is logged in
    to; tokens issued before are refused on every server within 2 s."""
    return _shown(await accounts.edit(caller, user_id, given, if_version))


@router.delete(
    "/{user_id}",
    status_code=204,
    summary="Delete a user",
    responses=answer(None, "Forgotten, and logged out everywhere", status=204)
    | problems(404, 409, 412),
)
async def delete(
    user_id: UserId, accounts: AccountsOf, caller: Caller, if_version: IfVersion
) -> Response:
    """Forget a user; what was said in conversations stays there."""
    await accounts.delete(caller, user_id, if_version)
    return Response(status_code=204)


def _shown(user: User, status: int = 200) -> Response:
    return json_response(person_of(user), status, {"ETag": f'"{user.version}"'})
