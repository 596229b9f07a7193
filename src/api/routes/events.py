"""The log of a conversation: pages of events, and the stream of those to come."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from src.api.auth.door import Door
from src.api.auth.rules import check_read
from src.api.dependencies import AtLeast, Caller, ConversationId, Service, Settings
from src.api.errors import Unavailable
from src.api.event_stream import EventStream, frame
from src.api.following import follow
from src.api.lifespan import Drain
from src.api.schemas.answers import EventList, events, json_response
from src.api.schemas.openapi import answer, event_stream, problems
from src.api.streams import Streams
from src.state.models import Event
from src.swarm.pending import PendingEvent
from src.swarm.told import EventItem, PendingItem

router = APIRouter(prefix="/conversations", tags=["events"])

_STREAM = event_stream(
    "Server-sent events: `id` is the sequence number, `event` the type; "
    "a comment now and then keeps the connection open",
    EventItem,
    PendingItem,
)

Seq = Annotated[int, Query(ge=0, le=2**53 - 1, description="Sequence number of the last one seen")]


@router.get(
    "/{conversation_id}/events",
    summary="Read events",
    responses=answer(EventList, "Events in order") | problems(404),
)
async def read_events(
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    at_least: AtLeast,
    after: Seq = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most")] = 100,
) -> Response:
    """Read logged events with a sequence number above `after`.

    A page ends early with the event that passes 1 MiB; `next_after` says where to go on.
    """
    found = await service.read(conversation_id, at_least=at_least)
    check_read(caller, found.entry.state)
    rows = await service.events(conversation_id, after=after, limit=limit)
    following = None
    if rows and (len(rows) == limit or rows[-1].version.seq < found.entry.version.seq):
        following = rows[-1].version.seq
    return json_response(EventList(conversation_id, events(rows), following))


@router.get(
    "/{conversation_id}/stream",
    summary="Follow events",
    response_class=EventStream,
    responses=_STREAM | problems(404),
)
async def stream(
    request: Request,
    conversation_id: ConversationId,
    service: Service,
    caller: Caller,
    settings: Settings,
    last_event_id: Annotated[
        str | None,
        Header(pattern=r"^[0-9]{1,15}$", description="Where a broken stream goes on"),
    ] = None,
    after: Annotated[
        int | None, Query(ge=0, le=2**53 - 1, description="The same for a first connection")
    ] = None,
) -> Response:
    """Follow the conversation: from Last-Event-ID or `after` on, else from now on."""
    drain = cast("Drain", request.app.state.drain)
    if drain.begun:
        raise Unavailable("this server is going away; connect again")
    found = await service.read(conversation_id)
    check_read(caller, found.entry.state)
    seen = found.entry.version.seq if after is None else after
    if last_event_id is not None:
        seen = int(last_event_id)
    events = follow(
        service,
        drain,
        cast("Door", request.app.state.door),
        caller,
        conversation_id,
        after=seen,
        idle_s=settings.keep_alive.total_seconds(),
    )
    place = cast("Streams", request.app.state.streams).stream(caller)
    return EventStream[Event | PendingEvent](events, frame, place, lambda: drain.begun)
