"""The past of a conversation: its state at a point, branches that begin there, and all of it."""

from __future__ import annotations

import re
from typing import Annotated, cast

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BeforeValidator
from starlette.responses import Response, StreamingResponse

from src.api import headers
from src.api.auth.door import Door
from src.api.auth.principals import Right
from src.api.auth.rules import check_read, check_right
from src.api.bodies import decoded
from src.api.dependencies import (
    AtLeast,
    Caller,
    ConversationId,
    JsonBody,
    Service,
    Settings,
    WriteWish,
    metered,
)
from src.api.export import MEDIA_TYPE, export
from src.api.ids import id_of, new_id
from src.api.lifespan import Drain
from src.api.rate_limits import Metered
from src.api.schemas.answers import BranchBegun, json_response
from src.api.schemas.openapi import Responses, answer, body, problems
from src.api.transfers import download
from src.state.models import Entry, Where
from src.swarm.rules.branching import branch_of
from src.swarm.shapes.bounds import Id, Moment
from src.swarm.shapes.models import ConversationState
from src.swarm.transfers import Transfers

router = APIRouter(prefix="/conversations", tags=["history"])

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_BRANCHED = {
    "id": "c-2",
    "parent": {"id": "c-1", "seq": 7},
    "version": "1.3",
    "durability": "logged",
    "repeated": False,
}


_EXPORT: Responses = {
    200: {
        "description": "JSON Lines: a StateLine, an EventLine for each event, an EndLine; `line` "
        "says which one it is",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


def _moment(given: object) -> object:
    """Pydantic alone would also take numbers and times without a zone."""
    if isinstance(given, str) and not _RFC_3339.fullmatch(given):
        raise ValueError("write RFC 3339 with a zone, such as 2026-01-02T03:04:05Z")
    return given


Seq = Annotated[int | None, Query(ge=1, le=2**53 - 1, description="After this event")]
Time = Annotated[
    Annotated[AwareDatetime, BeforeValidator(_moment)] | None,
    Query(description="After the last event that is not later than this"),
]


class _From(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a branch begins: after event `seq`, at `time`, or now."""

    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)] | None = None
    time: Moment | None = None
    id: Id | None = None


@router.get(
    "/{conversation_id}/at",
    summary="Read a conversation as it was",
    responses=answer(ConversationState, "The whole state, as of the ETag's version")
    | problems(404),
)
async def read_at(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    at_least: AtLeast,
    seq: Seq = None,
    time: Time = None,
) -> Response:
    """Read the state after event `seq`, at `time`, or after whichever of them is earlier."""
    await _read(service, caller, conversation_id, at_least)
    entry = await service.history.at(conversation_id, seq=seq, time=time)
    content = service.body(entry)
    response = Response()
    response.body = content
    response.raw_headers = headers.of_state(entry, Where.L3, None, len(content))
    return response


@router.post(
    "/{conversation_id}/branch",
    status_code=201,
    summary="Branch a conversation",
    dependencies=[metered(Metered.BEGIN)],
    openapi_extra=body(_From, {"seq": 1, "id": "c-2"}),
    responses=answer(BranchBegun, "Begun", status=201, example=_BRANCHED) | problems(404, 409, 413),
)
async def branch(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    given: JsonBody,
    wish: WriteWish,
) -> Response:
    """Begin a new conversation with the state that this one had; this one stays as it is."""
    check_right(caller, Right.TALK)
    wanted = decoded(_From, given)
    await _read(service, caller, conversation_id, wish.at_least)
    source = await service.history.at(conversation_id, seq=wanted.seq, time=wanted.time)
    made = id_of(caller.id, f"{conversation_id} {wish.key}") if wish.key_given else new_id()
    asked = branch_of(source, wanted.id or made)
    receipt = await service.submit(
        asked.id,
        asked,
        key=wish.key,
        actor=caller.id,
        durability=wish.durability,
        create=True,
    )
    parent = asked.parent
    if receipt.repeated:
        # The source may have moved on since: what counts is where the branch began then.
        begun = (await service.read(asked.id, at_least=receipt.version)).entry.state
        parent = begun.config.parent or parent
    version, durability = receipt.version, receipt.durability
    return json_response(
        BranchBegun(asked.id, parent, version.token, durability, receipt.repeated),
        201,
        headers.of_write(version, durability) | {"Location": f"/api/v1/conversations/{asked.id}"},
    )


@router.get(
    "/{conversation_id}/export",
    summary="Export a conversation",
    response_class=StreamingResponse,
    responses=_EXPORT | problems(404),
)
async def export_all(
    request: Request,
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    settings: Settings,
    at_least: AtLeast,
    after: Annotated[
        int, Query(ge=0, le=2**53 - 1, description="Go on after this event, without the state")
    ] = 0,
) -> Response:
    """Stream the state and every event as JSON Lines; without an `end` line it was cut."""
    entry = await _read(service, caller, conversation_id, at_least)
    drain = cast("Drain", request.app.state.drain)
    door = cast("Door", request.app.state.door)
    downloads = cast("Transfers", request.state.downloads)
    described = {
        "Content-Type": MEDIA_TYPE,
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{conversation_id}.jsonl"',
        "X-Swarm-Version": entry.version.token,
    }
    lines = export(service, drain, door, caller, downloads, entry, after=after)
    return await download(lines, 200, described, settings.file_patience.total_seconds())


async def _read(
    service: Service, caller: Caller, conversation_id: str, at_least: AtLeast
) -> Entry[ConversationState]:
    """Read what is there now: who may do so may read all of its past."""
    found = await service.read(conversation_id, at_least=at_least)
    check_read(caller, found.entry.state)
    return found.entry
