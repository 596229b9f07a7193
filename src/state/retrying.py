"""Trying again until a store answers: data is not given up because a store is away."""

from __future__ import annotations

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from src.state.errors import TierUnavailable

log = structlog.get_logger(__name__)


def until_answered() -> AsyncRetrying:
    """Retry for ever, with jittered waits of a second at the most."""
    return AsyncRetrying(
        retry=retry_if_exception_type(TierUnavailable),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        before_sleep=lambda state: log.warning(
            "log.unanswered",
            attempt=state.attempt_number,
            error=str(state.outcome.exception()) if state.outcome else "",
        ),
    )
