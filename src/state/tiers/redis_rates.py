"""The count of all servers, in Redis: one small hash for each name, gone after two windows.

A Redis that was cleared has counted nothing yet, which at worst gives everybody one more window.
Commands stay within Redis 7.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from src.state.protocols import Trip, open_way
from src.state.rates import Asked, Told
from src.state.tiers.keys import rate_key
from src.state.tiers.redis import Client, Script, run_scripts

_SCRIPT = Script.read("src.state.tiers", "rate.lua")
_TRIPS = 16
"""At once: requests queue for them, and the client's pool is never empty."""


class RedisRates:
    """`SharedRates` on one Redis."""

    def __init__(self, client: Client, *, way: Trip = open_way) -> None:
        self._client = client
        self._way = way
        self._turns = asyncio.Semaphore(_TRIPS)

    async def add(self, asked: Sequence[Asked]) -> Sequence[Told]:
        calls = [
            (
                [rate_key(one.name)],
                [one.rate.count, int(one.rate.window_s * 1000), one.wanted, one.done],
            )
            for one in asked
        ]
        async with self._way(), self._turns:
            replies = await run_scripts(self._client, _SCRIPT, calls)
        return [
            Told(here, before, passed_ms / 1000, bool(taken))
            for taken, here, before, passed_ms in replies
        ]
