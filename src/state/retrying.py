"""Trying again for as long as a store is away: data is not given up for that."""

from __future__ import annotations

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from src.state.errors import TierUnavailable

log = structlog.get_logger(__name__)


def until_answered(event: str) -> AsyncRetrying:
    """Retry for ever, with jittered waits of 1 s at most; each failure is logged as `event`."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(event, attempt=state.attempt_number, error=str(error))

    return AsyncRetrying(
        retry=retry_if_exception_type(TierUnavailable),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        before_sleep=tell,
    )
