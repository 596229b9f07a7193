"""Changes of configs for consumers outside, as a stream that can be resumed on any server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, cast

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from src.api.auth.door import Door
from src.api.auth.principals import Principal, Right
from src.api.dependencies import ID, Caller, Changes, Settings, needs
from src.api.errors import Unavailable
from src.api.event_stream import EventStream
from src.api.following import while_allowed
from src.api.lifespan import Drain
from src.api.schemas.answers import encode
from src.api.schemas.openapi import event_stream, problems
from src.api.streams import Streams
from src.invalidation.changes import ChangeFeed, Follower, Reset, Wanted
from src.state.models import Change, Version
from src.swarm.configs.service import KindName

router = APIRouter(prefix="/changes", tags=["changes"])

_PLACE = r"^[0-9]{1,18}\.[0-9]{1,18}$"
_STREAM = event_stream(
    "Server-sent events. `event: change` has a Change as `data`; `event: reset` ({position}) says "
    "that changes before it can no longer be told: read everything anew. The event id is the place "
    "to go on from; comments with a new id come while there is nothing to tell",
    Change,
    Reset,
)


@router.get(
    "",
    summary="Follow changes of configs",
    dependencies=[needs(Right.READ_CONFIGS)],
    response_class=EventStream,
    responses=_STREAM | problems(),
)
async def follow_changes(
    request: Request,
    feed: Changes,
    caller: Caller,
    settings: Settings,
    kind: Annotated[
        list[KindName], Query(max_length=20, description="Only these kinds; repeat it for several")
    ] = [],  # noqa: B006  # FastAPI copies it.
    id: Annotated[
        list[Annotated[str, Query(pattern=ID)]],
        Query(max_length=100, description="Only these ids; repeat it for several"),
    ] = [],  # noqa: B006
    last_event_id: Annotated[
        str | None, Header(pattern=_PLACE, description="Where a broken stream goes on")
    ] = None,
    after: Annotated[
        int | None,
        Query(
            ge=0,
            le=2**53 - 1,
            description="Position to begin after, for a first connection; 0: all that is kept",
        ),
    ] = None,
) -> Response:
    """Follow every committed change in order: from Last-Event-ID or `after` on, else from now on.

    A change names kind, id and version, never the value: read it, from any server.
    """
    drain = cast("Drain", request.app.state.drain)
    if drain.begun:
        raise Unavailable("this server is going away; connect again")
    place = None if after is None else Version(feed.timeline, after)
    if last_event_id is not None:
        place = Version.parse(last_event_id)
    follower = feed.follower(place, Wanted(frozenset(kind), frozenset(id)))
    door = cast("Door", request.app.state.door)
    events = _events(feed, follower, drain, door, caller, settings.keep_alive.total_seconds())
    seat = cast("Streams", request.app.state.streams).stream(caller)
    return EventStream[Change | Reset](events, _framing(follower), seat, lambda: drain.begun)


async def _events(
    feed: ChangeFeed,
    follower: Follower,
    drain: Drain,
    door: Door,
    caller: Principal,
    idle_s: float,
) -> AsyncGenerator[Change | Reset | None, None]:
    with feed.following(follower):
        told = while_allowed(follower.events(), drain, door, caller, idle_s=idle_s)
        async with aclosing(told) as allowed:
            async for event in allowed:
                yield event


def _framing(follower: Follower) -> Callable[[Change | Reset | None], bytes]:
    def frame(event: Change | Reset | None) -> bytes:
        place = follower.place.token.encode()
        if event is None:
            # An id alone moves Last-Event-ID on: what the filter left out is not missed either.
            return b": keep-alive\nid: %s\n\n" % place
        name = b"reset" if isinstance(event, Reset) else b"change"
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (place, name, encode(event))

    return frame
