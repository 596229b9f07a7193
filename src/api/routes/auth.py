"""Coming and going: register, log in, stay logged in, log out; and one's own profile."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from src.api.auth.accounts import person_of
from src.api.auth.forms import (
    LoggedIn,
    Login,
    Logout,
    Person,
    Profile,
    ProfileEdit,
    Refresh,
    Registration,
)
from src.api.bodies import Body, decoded, read_object
from src.api.dependencies import AccountsOf, Caller, IfVersion, JsonBody
from src.api.rate_limits import Metered, RateLimits, rated
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.structs import object_schema, patch_schema

router = APIRouter(tags=["people"])

_LOGIN = {"email": "zoe@example.org", "password": "correct horse battery"}
_NEVER_KEPT = {"Cache-Control": "no-store"}
"""On answers with tokens (RFC 6749, section 5.1)."""


async def _body_if_any(request: Request) -> Body:
    given = await request.body()
    return read_object(given) if given else {}


@router.post(
    "/auth/register",
    status_code=201,
    summary="Register",
    dependencies=[rated(Metered.SIGN_IN)],
    openapi_extra=body(Registration, {**_LOGIN, "name": "Zoe"}),
    responses=answer(Person, "Registered, as a member", status=201) | problems(409, 413),
)
async def register(accounts: AccountsOf, given: JsonBody) -> Response:
    """Make an account for oneself, where registration is open."""
    return json_response(person_of(await accounts.register(decoded(Registration, given))), 201)


@router.post(
    "/auth/login",
    summary="Log in",
    dependencies=[rated(Metered.SIGN_IN)],
    openapi_extra=body(Login, _LOGIN),
    responses=answer(LoggedIn, "Logged in") | problems(413),
)
async def login(request: Request, accounts: AccountsOf, given: JsonBody) -> Response:
    """Get an access token and a refresh token for email and password."""
    wanted = decoded(Login, given)
    limits = cast("RateLimits", request.app.state.rate_limits)
    async with limits.password(request, wanted.email):
        found = await accounts.login(wanted)
    return json_response(found, headers=_NEVER_KEPT)


@router.post(
    "/auth/refresh",
    summary="Stay logged in",
    dependencies=[rated(Metered.SIGN_IN)],
    openapi_extra=body(Refresh, {"refresh_token": "ssr_..."}),
    responses=answer(LoggedIn, "The next pair of tokens") | problems(413),
)
async def refresh(accounts: AccountsOf, given: JsonBody) -> Response:
    """Get the next pair of tokens. The refresh token is used up: when it comes again, somebody
    else may have it, and the session ends."""
    found = await accounts.refresh(decoded(Refresh, given).refresh_token)
    return json_response(found, headers=_NEVER_KEPT)


@router.post(
    "/auth/logout",
    status_code=204,
    summary="Log out",
    openapi_extra=json_body(object_schema(Logout), {"everywhere": False}, required=False),
    responses=answer(None, "No server takes the token any more", status=204) | problems(409, 413),
)
async def logout(
    accounts: AccountsOf, caller: Caller, given: Annotated[Body, Depends(_body_if_any)]
) -> Response:
    """End the login that the token came from, or everything of this user."""
    await accounts.logout(caller, everywhere=decoded(Logout, given).everywhere)
    return Response(status_code=204)


@router.get(
    "/profile", summary="Read one's profile", responses=answer(Profile, "Oneself") | problems()
)
async def read_profile(accounts: AccountsOf, caller: Caller) -> Response:
    """Read what is kept about the caller; nothing yet is version 0."""
    return _shown(await accounts.profile(caller))


@router.patch(
    "/profile",
    summary="Change one's profile",
    openapi_extra=json_body(
        patch_schema(ProfileEdit) | {"description": "A JSON merge patch (RFC 7396)"},
        {"preferences": {"pace": "slow"}},
    ),
    responses=answer(Profile, "The next version") | problems(404, 412, 413),
)
async def edit_profile(
    accounts: AccountsOf, caller: Caller, given: JsonBody, if_version: IfVersion
) -> Response:
    """Change what is given; null takes a field, or a field inside, away."""
    return _shown(await accounts.edit_profile(caller, given, if_version))


def _shown(profile: Profile) -> Response:
    return json_response(profile, headers={"ETag": f'"{profile.version}"'})
