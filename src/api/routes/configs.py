"""Bots, teams, routines, subtopics, settings: the same routes for each kind of config."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response

from src.api import headers
from src.api.auth.principals import Right
from src.api.bodies import Body
from src.api.dependencies import (
    ID,
    AtLeast,
    Caller,
    ConfigId,
    IfVersion,
    JsonBody,
    Limit,
    Service,
    needs,
)
from src.api.repeating import Once
from src.api.schemas import configs as shapes
from src.api.schemas.answers import json_response
from src.api.schemas.configs import READ_ONLY, Diff, Rollback, Shape
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.structs import patch_schema
from src.state.configs import Record
from src.state.errors import Refused
from src.state.models import Version
from src.swarm.configs.decoding import decoded
from src.swarm.configs.settings import VALUES
from src.swarm.shapes.bounds import Id

_ids = msgspec.json.Decoder(Id)
_rollbacks = msgspec.json.Decoder(Rollback)
_CURSOR = "`next_cursor` of the page before"
_MAX_VERSION = 2**53 - 1
_Version = Annotated[int, Query(ge=1, le=_MAX_VERSION)]

Filter = Callable[..., Awaitable[str | None]]
"""A dependency that gives what a list is narrowed to."""


async def _all() -> None:
    return None


async def _of_topic(
    topic: Annotated[
        str | None,
        Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$", description="Those of a topic"),
    ] = None,
) -> str | None:
    return topic


def config_router(shape: Shape, chosen: Filter = _all) -> APIRouter:
    """Return the routes of one kind of config."""
    router = APIRouter(prefix=f"/{shape.kind}s", tags=[f"{shape.kind}s"])
    _add_reads(router, shape, chosen)
    _add_versions(router, shape)
    _add_beginning_and_end(router, shape)
    _add_edits(router, shape)
    return router


def _add_reads(router: APIRouter, shape: Shape, chosen: Filter) -> None:
    kind, reads = shape.kind, needs(Right.READ_CONFIGS)

    @router.get(
        "",
        summary=f"List {kind}s",
        dependencies=[reads],
        responses=answer(shape.many, "A page, in order of id") | problems(),
    )
    async def list_all(
        service: Service,
        cursor: Annotated[str | None, Query(pattern=ID, description=_CURSOR)] = None,
        limit: Limit = 50,
        group: str | None = Depends(chosen),
    ) -> Response:
        page = await service.configs.list(kind, cursor, limit, group=group)
        return json_response(shape.page(page.records, page.following, page.as_of))

    @router.get(
        "/{config_id}",
        summary=f"Read a {kind}",
        dependencies=[reads],
        responses=answer(shape.one, "The present version")
        | answer(None, "If-None-Match names the present version", status=304)
        | problems(404),
    )
    async def read(
        config_id: ConfigId,
        service: Service,
        at_least: AtLeast,
        if_none_match: Annotated[str | None, Header(description="An ETag you have")] = None,
    ) -> Response:
        """Read the config from the nearest tier that has it fresh; the headers say which one."""
        found = await service.configs.find(kind, config_id, at_least=at_least)
        record = found.entry.state
        more = {
            **_headers(record),
            "X-Swarm-Tier": found.where.value,
            "X-Swarm-Freshness": headers.freshness(found.stale_s).decode(),
        }
        if if_none_match is not None and headers.matches(if_none_match, more["ETag"]):
            return Response(status_code=304, headers=more)
        return json_response(shape.show(record), headers=more)


def _add_versions(router: APIRouter, shape: Shape) -> None:
    kind, reads, writes = shape.kind, needs(Right.READ_CONFIGS), needs(Right.WRITE_CONFIGS)

    @router.get(
        "/{config_id}/history",
        summary=f"Read the versions of a {kind}",
        dependencies=[reads],
        responses=answer(shape.versions, "Versions, newest first") | problems(404),
    )
    async def history(
        config_id: ConfigId,
        service: Service,
        before: _Version | None = None,
        limit: Limit = 50,
    ) -> Response:
        """Read versions below `before`, deleted ones included."""
        records = await service.configs.history(kind, config_id, before, limit)
        following = records[-1].version if len(records) == limit else None
        return json_response(shape.history(records, following))

    @router.get(
        "/{config_id}/diff",
        summary=f"Compare two versions of a {kind}",
        dependencies=[reads],
        responses=answer(Diff, "What differs, place by place") | problems(404),
    )
    async def diff(
        config_id: ConfigId,
        service: Service,
        since: Annotated[int, Query(alias="from", ge=1, le=_MAX_VERSION)],
        to: _Version | None = None,
    ) -> Response:
        """Compare version `from` with version `to`, without it with the present one."""
        old, new, changes = await service.configs.diff(kind, config_id, since, to)
        return json_response(Diff(config_id, old.version, new.version, changes))

    @router.post(
        "/{config_id}/rollback",
        summary=f"Put an old version of a {kind} back",
        dependencies=[writes],
        openapi_extra=body(Rollback, {"version": 1}),
        responses=answer(shape.one, "The next version") | problems(404, 409, 412, 413),
    )
    async def rollback(
        config_id: ConfigId,
        service: Service,
        caller: Caller,
        given: JsonBody,
        if_version: IfVersion,
        once: Once,
    ) -> Response:
        """Make a new version of what an old one said; a deleted config lives again."""
        asked = decoded(_rollbacks, msgspec.json.encode(given))

        async def put_back() -> Response:
            record = await service.configs.rollback(
                kind, config_id, asked.version, caller.id, if_version
            )
            return _shown(shape, record)

        return await once(put_back)


def _add_beginning_and_end(router: APIRouter, shape: Shape) -> None:
    kind, writes = shape.kind, needs(Right.WRITE_CONFIGS)

    @router.post(
        "",
        status_code=201,
        summary=f"Create a {kind}",
        dependencies=[writes],
        openapi_extra=body(shape.body, shape.example, extra={"id": _id_schema(shape)}),
        responses=answer(shape.one, "Version 1", status=201) | problems(409, 413),
    )
    async def create(service: Service, caller: Caller, given: JsonBody, once: Once) -> Response:
        rest = dict(given)
        id = _id(rest.pop("id", None)) or once.new_id()

        async def make() -> Response:
            record = await service.configs.create(kind, id, msgspec.json.encode(rest), caller.id)
            place = {"Location": f"/api/v1/{kind}s/{id}"}
            return json_response(shape.show(record), 201, _headers(record) | place)

        return await once(make)

    @router.delete(
        "/{config_id}",
        status_code=204,
        summary=f"Delete a {kind}",
        dependencies=[writes],
        responses=answer(None, "Deleted; its history stays", status=204) | problems(404, 412),
    )
    async def delete(
        config_id: ConfigId, service: Service, caller: Caller, if_version: IfVersion
    ) -> Response:
        """Delete the config; a rollback to one of its versions brings it back."""
        record = await service.configs.delete(kind, config_id, caller.id, if_version)
        return Response(status_code=204, headers=_headers(record))


def _add_edits(router: APIRouter, shape: Shape) -> None:
    kind, writes = shape.kind, needs(Right.WRITE_CONFIGS)
    changed = answer(shape.one, "The next version") | problems(404, 409, 412, 413)
    read_only: dict[str, dict[str, Any]] = {name: {"readOnly": True} for name in ("id", *READ_ONLY)}

    @router.put(
        "/{config_id}",
        summary=f"Replace a {kind}",
        dependencies=[writes],
        openapi_extra=body(shape.body, shape.example, extra=read_only),
        responses=changed,
    )
    async def replace(
        config_id: ConfigId,
        service: Service,
        caller: Caller,
        given: JsonBody,
        if_version: IfVersion,
    ) -> Response:
        """Replace the config. What an answer adds to it (id, version, ...) may be sent back."""
        data = msgspec.json.encode(_without_read_only(given, config_id))
        record = await service.configs.replace(kind, config_id, data, caller.id, if_version)
        return _shown(shape, record)

    @router.patch(
        "/{config_id}",
        summary=f"Change a {kind}",
        dependencies=[writes],
        openapi_extra=json_body(
            patch_schema(shape.body) | {"description": "A JSON merge patch (RFC 7396)"},
            shape.change,
        ),
        responses=changed,
    )
    async def patch(
        config_id: ConfigId,
        service: Service,
        caller: Caller,
        given: JsonBody,
        if_version: IfVersion,
    ) -> Response:
        """Change what is given; null puts a field back to its default."""
        record = await service.configs.patch(kind, config_id, given, caller.id, if_version)
        return _shown(shape, record)


def _shown(shape: Shape, record: Record[Any]) -> Response:
    return json_response(shape.show(record), headers=_headers(record))


def _headers(record: Record[Any]) -> dict[str, str]:
    version = Version(0, record.version)
    return {"ETag": f'"{record.version}"', "X-Swarm-Version": version.token}


def _id_schema(shape: Shape) -> dict[str, Any]:
    if shape is shapes.SETTINGS:
        return {"enum": list(VALUES), "description": "The key"}
    return {
        "anyOf": [{"type": "string", "pattern": ID}, {"type": "null"}],
        "description": "Made by the server if left out",
    }


def _id(value: object) -> str | None:
    if value is None:
        return None
    try:
        return _ids.decode(msgspec.json.encode(value))
    except msgspec.ValidationError as error:
        raise Refused("invalid", f"id: {error}", field="id") from error


def _without_read_only(given: Body, id: str) -> Body:
    if given.get("id", id) != id:
        raise Refused("invalid", f"id: the address says {id!r}; ids don't change", field="id")
    return {name: value for name, value in given.items() if name not in ("id", *READ_ONLY)}


ROUTERS = (
    config_router(shapes.BOTS),
    config_router(shapes.TEAMS),
    config_router(shapes.ROUTINES),
    config_router(shapes.SUBTOPICS, _of_topic),
    config_router(shapes.SETTINGS),
)
