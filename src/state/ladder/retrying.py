"""Trying again for as long as a store is away: data is not given up for that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from src.state.errors import TierUnavailable

log = structlog.get_logger(__name__)


def until_answered(event: str) -> AsyncRetrying:
    """Retry for ever, with jittered waits of 1 s at most; failures are logged as `event`."""

    def tell(state: RetryCallState) -> None:
        attempt = state.attempt_number
        # The 1st, 2nd, 4th, 8th ...: an outage may last an hour.
        if attempt & (attempt - 1) == 0 and state.outcome is not None:
            log.warning(event, attempt=attempt, error=str(state.outcome.exception()))

    return AsyncRetrying(
        retry=retry_if_exception_type(TierUnavailable),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        before_sleep=tell,
    )


async def insist(trip: Callable[[], Awaitable[None]], event: str) -> None:
    """Make a trip until it is answered, the first time without the retries' own cost."""
    try:
        await trip()
    except TierUnavailable:
        async for attempt in until_answered(event):
            with attempt:
                await trip()
