"""Keeping L2 from forgetting while L3 is away: what expires then can be read nowhere any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from src.state.errors import SharedTierUnavailable
from src.state.ladder.breaker import Breaker
from src.state.protocols import Clock, SharedTier
from src.state.reads.store import Store
from src.state.settings import StateSettings

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0


async def keep_for_ever(
    durable: Breaker,
    shared: SharedTier,
    stores: Iterable[Store[Any]],
    settings: StateSettings,
    clock: Clock,
) -> None:
    """Until cancelled: while `durable` is open, share what L1 holds and re-arm what L2 holds."""
    quarter_s = settings.l2_ttl.total_seconds() / 4
    opened = asyncio.Event()
    durable.on_change.append(lambda: opened.clear() if durable.closed else opened.set())
    while True:
        await opened.wait()
        for store in stores:
            store.share()
        while not durable.closed:
            try:
                held = await shared.rearm()
            except SharedTierUnavailable:
                await clock.sleep(_AGAIN_S)
                continue
            if held is not None:
                log.info("l2.rearmed", bodies=held)
            await clock.sleep(quarter_s)
