"""Bots and teams: the same routes for each kind of config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from src.api.auth.principals import Right
from src.api.bodies import Body
from src.api.dependencies import (
    ID,
    Caller,
    ConfigId,
    IfVersion,
    JsonBody,
    Limit,
    Service,
    needs,
)
from src.api.ids import new_id
from src.api.schemas import answers
from src.api.schemas.answers import json_response
from src.api.schemas.openapi import answer, body, json_body, problems
from src.api.schemas.structs import patch_schema
from src.state.configs import Record
from src.state.errors import Refused
from src.swarm.bounds import Id
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.teams import TeamConfig

_ids = msgspec.json.Decoder(Id)
_ID_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": ID}, {"type": "null"}],
    "description": "Made by the server if left out",
}
_READ_ONLY_SCHEMAS: dict[str, dict[str, Any]] = {
    name: {"readOnly": True} for name in ("id", *answers.READ_ONLY)
}


class Shape(NamedTuple):
    """What differs between the kinds."""

    kind: str
    body: type[BotConfig] | type[TeamConfig]
    one: type[answers.Bot] | type[answers.Team]
    many: type[answers.BotList] | type[answers.TeamList]
    versions: type[answers.BotHistory] | type[answers.TeamHistory]
    example: Body

    def shown(self, record: Record[Any], status: int = 200) -> Response:
        """Return the answer with one version and its ETag."""
        etag = {"ETag": f'"{record.version}"'}
        return json_response(answers.config(self.one, record), status, etag)

    def page(self, records: Sequence[Record[Any]]) -> tuple[Any, ...]:
        """Return the answers of a list."""
        return tuple(answers.config(self.one, record) for record in records)


def config_router(shape: Shape) -> APIRouter:
    """Return the routes of one kind of config."""
    router = APIRouter(prefix=f"/{shape.kind}s", tags=[f"{shape.kind}s"])
    _add_reads(router, shape)
    _add_beginning_and_end(router, shape)
    _add_edits(router, shape)
    return router


def _add_reads(router: APIRouter, shape: Shape) -> None:
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
    ) -> Response:
        records, following = await service.configs.list(kind, cursor, limit)
        return json_response(shape.many(shape.page(records), following))

    @router.get(
        "/{config_id}",
        summary=f"Read a {kind}",
        dependencies=[reads],
        responses=answer(shape.one, "The present version") | problems(404),
    )
    async def read(config_id: ConfigId, service: Service) -> Response:
        return shape.shown(await service.configs.get(kind, config_id))

    @router.get(
        "/{config_id}/history",
        summary=f"Read the versions of a {kind}",
        dependencies=[reads],
        responses=answer(shape.versions, "Versions, newest first") | problems(404),
    )
    async def history(
        config_id: ConfigId,
        service: Service,
        before: Annotated[int | None, Query(ge=1, le=2**53 - 1)] = None,
        limit: Limit = 50,
    ) -> Response:
        """Read versions below `before`, deleted ones included."""
        records = await service.configs.history(kind, config_id, before, limit)
        following = records[-1].version if len(records) == limit else None
        return json_response(shape.versions(shape.page(records), following))


def _add_beginning_and_end(router: APIRouter, shape: Shape) -> None:
    kind, writes = shape.kind, needs(Right.WRITE_CONFIGS)

    @router.post(
        "",
        status_code=201,
        summary=f"Create a {kind}",
        dependencies=[writes],
        openapi_extra=body(shape.body, shape.example, extra={"id": _ID_SCHEMA}),
        responses=answer(shape.one, "Version 1", status=201) | problems(409, 413),
    )
    async def create(service: Service, caller: Caller, given: JsonBody) -> Response:
        rest = dict(given)
        id = _id(rest.pop("id", None)) or new_id()
        record = await service.configs.create(kind, id, msgspec.json.encode(rest), caller.id)
        response = shape.shown(record, 201)
        response.headers["Location"] = f"/api/v1/{kind}s/{id}"
        return response

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
        await service.configs.delete(kind, config_id, caller.id, if_version)
        return Response(status_code=204)


def _add_edits(router: APIRouter, shape: Shape) -> None:
    kind, writes = shape.kind, needs(Right.WRITE_CONFIGS)
    changed = answer(shape.one, "The next version") | problems(404, 412, 413)

    @router.put(
        "/{config_id}",
        summary=f"Replace a {kind}",
        dependencies=[writes],
        openapi_extra=body(shape.body, shape.example, extra=_READ_ONLY_SCHEMAS),
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
        return shape.shown(record)

    @router.patch(
        "/{config_id}",
        summary=f"Change a {kind}",
        dependencies=[writes],
        openapi_extra=json_body(
            patch_schema(shape.body) | {"description": "A JSON merge patch (RFC 7396)"},
            {"name": "Another name"},
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
        return shape.shown(record)


_CURSOR = "`next_cursor` of the page before"
_BOT = {
    "name": "Ada",
    "persona": "Dry, exact, kind.",
    "instructions": "Answer in one sentence.",
    "providers": {"llm": "offline/rules"},
}
_TEAM = {"name": "Launch", "members": [{"bot": "ada", "role": "lead"}]}

bots = config_router(
    Shape("bot", BotConfig, answers.Bot, answers.BotList, answers.BotHistory, _BOT)
)
teams = config_router(
    Shape("team", TeamConfig, answers.Team, answers.TeamList, answers.TeamHistory, _TEAM)
)


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
    read_only = ("id", *answers.READ_ONLY)
    return {name: value for name, value in given.items() if name not in read_only}
