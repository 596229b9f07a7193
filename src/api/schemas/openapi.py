"""The OpenAPI document: what routes say of themselves, joined with the schemas of the structs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from src.api.auth import forms
from src.api.problems import MEDIA_TYPE, Problem
from src.api.schemas import (
    answers,
    configs,
    effective,
    requests,
    rooms,
    status,
    structs,
    webhooks,
)
from src.invalidation.changes import Reset
from src.state.models import Change
from src.swarm.configs import settings
from src.swarm.providers.models import ModelsReport
from src.swarm.rooms.workers import WorkersReport
from src.swarm.shapes.commands import BEGINNINGS, OF_HOSTS, Command
from src.swarm.shapes.models import ConversationState
from src.swarm.told import EventItem, PendingItem

Responses = dict[int | str, dict[str, Any]]

_COMMANDS = tuple(kind for kind in get_args(Command) if kind not in (*BEGINNINGS, *OF_HOSTS))

_DOCUMENTED: tuple[type, ...] = (
    *_COMMANDS,
    *(kind for shape in configs.SHAPES for kind in (shape.many, shape.versions)),
    *settings.VALUES.values(),
    configs.Diff,
    effective.EffectiveConfig,
    ConversationState,
    Problem,
    answers.Written,
    answers.Posted,
    answers.Saved,
    requests.SessionMember,
    answers.BranchBegun,
    answers.SessionKept,
    answers.MessageList,
    answers.SessionList,
    EventItem,
    PendingItem,
    Change,
    Reset,
    answers.EventList,
    answers.FileInfo,
    answers.FileList,
    answers.ConversationList,
    rooms.RoomConfig,
    rooms.RoomItem,
    rooms.RoomList,
    rooms.SwarmSent,
    rooms.RecordingState,
    rooms.TokenMade,
    rooms.SessionBegun,
    webhooks.WebhookMade,
    webhooks.WebhookList,
    webhooks.DeliveryList,
    webhooks.Tested,
    forms.LoggedIn,
    forms.Person,
    forms.PersonList,
    forms.KeyMade,
    forms.KeyList,
    answers.Alive,
    answers.Ready,
    status.ServerReport,
    status.RoomsReport,
    WorkersReport,
    ModelsReport,
)
_REASONS = {
    401: "No token, or one that is not valid",
    403: "The token's roles do not allow this",
    404: "There is no such thing",
    400: "The request broke off",
    408: "The body came too slowly",
    409: "The current state does not allow it",
    412: "If-Match names another version than the present one",
    413: "The body is too long",
    415: "The media type is not taken",
    416: "The range begins beyond the end",
    422: "The input is wrong; `errors` names the fields",
    429: "Asked too often; Retry-After says when to go on, RateLimit-Policy how often is right",
    500: "A defect; `request_id` finds it in the log",
    503: "Not now; Retry-After says when to try again, `code` why",
}
_EXAMPLE = {
    "type": "urn:swarmstate:problem:invalid",
    "title": "Invalid",
    "status": 422,
    "code": "invalid",
    "detail": "Expected `str`, got `int` - at `$.text`",
    "request_id": "9f86d081884c-1a",
    "errors": [{"field": "text", "message": "Expected `str`, got `int` - at `$.text`"}],
}
_SIGNED = "/api/v1/webhooks/livekit"
_PUBLIC = (
    "/health/",
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
)


def problems(*statuses: int) -> Responses:
    """Describe error answers; 401, 403, 422, 429, 500 and 503 are on every route with a token.

    A body that may be too long (413) may be too slow as well (408).
    """
    content: dict[str, Any] = {"schema": structs.ref(Problem)}
    slow = {408} if 413 in statuses else set()
    wanted = sorted({401, 403, 422, 429, 500, 503, *slow, *statuses})
    return {
        status: {
            "description": _REASONS[status],
            "content": {
                MEDIA_TYPE: content | ({"example": _EXAMPLE} if status == 422 else {}),
            },
        }
        for status in wanted
    }


def answer(
    kind: type | None, description: str, *, status: int = 200, example: object = None
) -> Responses:
    """Describe a good answer; without `kind` it has no body."""
    described: dict[str, Any] = {"description": description}
    if kind is not None:
        content: dict[str, Any] = {"schema": structs.ref(kind)}
        if example is not None:
            content["example"] = example
        described["content"] = {"application/json": content}
    return {status: described}


def event_stream(description: str, *kinds: type) -> Responses:
    """Describe server-sent events whose data is one of these structs as JSON."""
    data = {"anyOf": [structs.ref(kind) for kind in kinds]}
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": data,
            },
            "retry": {"type": "integer"},
        },
    }
    return {200: {"description": description, "content": {"text/event-stream": {"schema": schema}}}}


def body(
    kind: type,
    example: object,
    *,
    without: Collection[str] = (),
    optional: Collection[str] = (),
    extra: Mapping[str, structs.Schema] | None = None,
    needed: Collection[str] = (),
) -> dict[str, Any]:
    """Describe a request's body: the fields of a struct, less or more; of `extra` some `needed`."""
    schema = structs.object_schema(kind, without=without, optional=optional)
    schema["properties"] = {**(extra or {}), **schema["properties"]}
    schema["required"] = [*needed, *schema.get("required", ())]
    return json_body(schema, example)


def json_body(schema: structs.Schema, example: object, *, required: bool = True) -> dict[str, Any]:
    """Describe a request's body by a schema."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


ANY_COMMAND: structs.Schema = {
    "oneOf": [structs.ref(kind) for kind in _COMMANDS],
    "discriminator": {"propertyName": "type"},
}


_CREATED = re.compile(r"^(/.+)/\{(\w+)\}")
_USED = re.compile(r'"#/components/schemas/(\w+)"')


def _tie(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    """Say of each route below a collection that it takes the id which a POST there has returned."""
    examples: dict[str, str] = {}
    for path, operations in paths.items():
        found = _CREATED.match(path)
        created = paths.get(found[1], {}).get("post") if found else None
        if found is None or created is None or "201" not in created["responses"]:
            continue
        content = created.get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example", {})
        made = created["responses"]["201"]["content"]["application/json"]["schema"]
        named = schemas[made["$ref"].rpartition("/")[2]]["properties"]
        id = found[2] if found[2] in named else "id"
        links = created["responses"]["201"].setdefault("links", {})
        for operation in operations.values():
            links[operation["operationId"]] = {
                "operationId": operation["operationId"],
                "parameters": {f"path.{found[2]}": f"$response.body#/{id}"},
            }
            if "id" in example:
                examples.setdefault(found[2], example["id"])
                _exemplify(operation, {found[2]: example["id"]})
    for operations in paths.values():
        for operation in operations.values():
            _exemplify(operation, examples)


def _exemplify(operation: Mapping[str, Any], examples: Mapping[str, str]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in examples:
            parameter.setdefault("example", examples[parameter["name"]])


def _used(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas that the paths refer to, and those that these refer to."""
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    waiting = set(_USED.findall(json.dumps(document["paths"])))
    while waiting:
        found |= waiting
        waiting = set(_USED.findall(json.dumps([schemas[name] for name in waiting]))) - found
    return {name: schema for name, schema in schemas.items() if name in found}


def _without_null(parameter: dict[str, Any]) -> None:
    """Say what an optional parameter may be when it is there: it cannot be null in a URL."""
    kinds = parameter["schema"].pop("anyOf", None)
    if kinds is not None:
        parameter["schema"].update(kinds[0])


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application, made once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        parts = spec.setdefault("components", {})
        parts["schemas"] = structs.components(_DOCUMENTED)
        parts["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            # LiveKit sends its signature bare, without a scheme before it.
            "livekit": {"type": "apiKey", "in": "header", "name": "Authorization"},
        }
        for path, operations in spec["paths"].items():
            if not path.startswith(_PUBLIC):
                for operation in operations.values():
                    operation["security"] = [{"livekit" if path == _SIGNED else "token": []}]
                    for parameter in operation.get("parameters", ()):
                        _without_null(parameter)
        _tie(spec["paths"], parts["schemas"])
        parts["schemas"] = _used(spec)
        app.openapi_schema = spec
    return app.openapi_schema
