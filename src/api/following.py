"""A caller's view of what happens, as streams and live sessions send it.

It ends by itself when the caller's token expires or is revoked, when the server drains, and when
PostgreSQL has failed over; that of a conversation also when the caller is no longer a member, and
when it is deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from typing import TypeVar

from src.api.auth.door import Door
from src.api.auth.principals import Principal
from src.api.auth.rules import may_read
from src.api.lifespan import Drain
from src.state.errors import NotFound
from src.state.models import Event
from src.swarm.pending import PendingEvent
from src.swarm.service import SwarmService

T = TypeVar("T")

_MAY_END_ACCESS = frozenset(("participant_removed", "participant_updated"))


async def follow(
    service: SwarmService,
    drain: Drain,
    door: Door,
    caller: Principal,
    conversation_id: str,
    *,
    after: int,
    idle_s: float,
) -> AsyncGenerator[Event | PendingEvent | None, None]:
    """Give events with seq > `after` as they are logged, and pending ones as they are said.

    None after each `idle_s` without one.
    """
    async with (
        service.follow(conversation_id, after=after) as events,
        aclosing(while_allowed(events, drain, door, caller, idle_s=idle_s)) as allowed,
    ):
        async for event in allowed:
            if isinstance(event, Event):
                if event.type in _MAY_END_ACCESS and not await _still(service, caller, event):
                    return
                yield event
                if event.type == "deleted":
                    return
            else:
                yield event


async def while_allowed(
    events: AsyncIterator[T], drain: Drain, door: Door, caller: Principal, *, idle_s: float
) -> AsyncGenerator[T | None, None]:
    """Give these events until the caller's token is good no more or the server drains.

    None after each `idle_s` without one.
    """
    upcoming: asyncio.Task[T | None] | None = None
    draining, watching = ExitStack(), ExitStack()
    closing = draining.enter_context(drain.watching())
    revoked = watching.enter_context(door.watching(caller))
    try:
        while True:
            left = caller.expires_at - time.time()
            if left <= 0 or closing.done() or not door.admits(caller):
                return
            if revoked.done():
                # Of an older token of the same user: this one is good, and is watched on.
                watching.close()
                revoked = watching.enter_context(door.watching(caller))
            # A task, since cancelling the wait for an event would end the events.
            upcoming = upcoming or asyncio.ensure_future(_next(events))
            await asyncio.wait(
                (upcoming, closing, revoked),
                timeout=min(idle_s, left),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if closing.done() or revoked.done():
                continue
            if not upcoming.done():
                yield None
                continue
            event = upcoming.result()
            upcoming = None
            if event is None:
                return
            yield event
    finally:
        watching.close()
        draining.close()
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.wait((upcoming,))


async def _next(events: AsyncIterator[T]) -> T | None:
    return await anext(events, None)


async def _still(service: SwarmService, caller: Principal, event: Event) -> bool:
    """Say whether the caller may read the conversation after this event."""
    if caller.reads_all:
        return True
    try:
        read = await service.read(event.aggregate_id, at_least=event.version)
    except NotFound:
        return False
    return may_read(caller, read.entry.state)
