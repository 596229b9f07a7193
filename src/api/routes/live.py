"""The door of live sessions: who may come in, and where in the conversation they begin."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Query, WebSocket

from src.api import headers
from src.api.auth.door import Door
from src.api.auth.rules import check_read
from src.api.dependencies import ID, Service, Settings, identified
from src.api.errors import Unavailable
from src.api.lifespan import Drain
from src.api.live import Session
from src.api.rate_limits import RateLimits
from src.api.streams import Streams
from src.swarm.rooms.calls import Calls

router = APIRouter(tags=["live"])

SUBPROTOCOL = "swarmstate"
"""Browsers cannot set headers on a WebSocket: they may offer [`swarmstate`, <token>]."""


@router.websocket("/ws/live")
async def live(
    websocket: WebSocket,
    service: Service,
    settings: Settings,
    conversation_id: Annotated[str, Query(pattern=ID)],
    token: Annotated[str | None, Query(max_length=8192)] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53 - 1)] = None,
) -> None:
    """Take part in a conversation by text or sound; `after` goes on after the last event seen."""
    state = websocket.app.state
    drain = cast("Drain", state.drain)
    if drain.begun:
        raise Unavailable("this server is going away; connect again")
    offered = [str(name) for name in websocket.scope.get("subprotocols", ())]
    caller = await identified(websocket, _authorization(websocket, token, offered))
    entry = (await service.read(conversation_id)).entry
    check_read(caller, entry.state)
    limits = cast("RateLimits", state.rate_limits)
    with cast("Streams", state.streams).session(caller):
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        door = cast("Door", state.door)
        session = Session(
            websocket,
            service,
            door,
            caller,
            conversation_id,
            settings,
            drain,
            limits,
            cast("Calls | None", state.calls),
        )
        seen = entry.version.seq if after is None else after
        await session.run(entry.version.token, seen)


def _authorization(websocket: WebSocket, token: str | None, offered: list[str]) -> bytes | None:
    """Return the token as a header: the header itself, `?token=`, or the second subprotocol."""
    given = headers.find(websocket.scope["headers"], b"authorization")
    if given is not None:
        return given
    if token is None and len(offered) == 2 and offered[0] == SUBPROTOCOL:
        token = offered[1]
    return None if token is None else b"Bearer " + token.encode("latin-1", "replace")
