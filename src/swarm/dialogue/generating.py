"""One reply, made by the first of a bot's providers that begins it in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import structlog

from src.swarm.providers import ReplyPart, ReplyRequest
from src.swarm.providers.registry import Registry

log = structlog.get_logger(__name__)


async def generate(
    registry: Registry, request: ReplyRequest, *, reply_s: float, first_part_s: float
) -> AsyncGenerator[ReplyPart, None]:
    """Try the bot's providers in order; one that fails before its first part is passed over.

    So is one that takes longer for it than its share of the time, but for the last.
    """
    names = registry.chain(request)
    share_s = min(first_part_s, reply_s / len(names))
    for stage, name in names:
        last = (stage, name) == names[-1]
        begun = False
        try:
            parts = registry.get(name, stage).generate(request)
            async with aclosing(_in_time(parts, None if last else share_s)) as spoken:
                async for part in spoken:
                    begun = True
                    yield part
        except Exception as error:
            log.warning("provider.failed", provider=name, bot=request.bot_id, error=repr(error))
            if begun or last:
                raise
        else:
            return


async def _in_time(
    parts: AsyncIterator[ReplyPart], first_s: float | None
) -> AsyncGenerator[ReplyPart, None]:
    """Give the parts of a reply.

    Raises:
        TimeoutError: the first part took longer than `first_s`.
    """
    try:
        async with asyncio.timeout(first_s):
            first = await anext(parts, None)
        if first is not None:
            yield first
            async for part in parts:
                yield part
    finally:
        # A provider that is given up must not go on working; an iterator need not be a generator.
        close = getattr(parts, "aclose", None)
        if close is not None:
            await close()
