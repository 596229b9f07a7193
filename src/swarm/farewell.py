"""The end of a server: what it holds is made safe and given up, and the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from src.state.aggregates import Aggregates
from src.state.errors import StateError
from src.state.ownership.membership import Membership

log = structlog.get_logger(__name__)

_DRAIN_S = 10.0
_LEAVE_S = 2.0


@asynccontextmanager
async def farewell(
    conversations: Aggregates[Any, Any], membership: Membership
) -> AsyncIterator[None]:
    """At the end: drain and say goodbye, so that nobody has to wait for a silence.

    When something failed there is nobody left to drain: then only the goodbye is said.
    """
    drain = False
    try:
        yield
        drain = True
    finally:
        try:
            async with asyncio.timeout(_DRAIN_S):
                if drain:
                    await conversations.drain()
        except (StateError, TimeoutError) as error:
            # The log has everything acknowledged; what is left is for the next owner to derive.
            log.warning("drain.incomplete", server=membership.id, error=str(error))
        try:
            async with asyncio.timeout(_LEAVE_S):
                await membership.leave()
            log.info("server.left", server=membership.id)
        except (StateError, TimeoutError) as error:
            log.warning("leave.unheard", server=membership.id, error=str(error))
