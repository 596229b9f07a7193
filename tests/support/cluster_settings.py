"""Settings for servers under test, and how a test waits for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from src.state.settings import StateSettings

NOWHERE = "127.0.0.1:1"
"""No program listens here."""


def settings(
    database_url: str = f"postgresql://nobody@{NOWHERE}/none",
    redis_url: str = f"redis://{NOWHERE}/0",
    **changes: Any,
) -> StateSettings:
    """Settings with the release's defaults; a number among the changes stands for seconds."""
    fields = StateSettings.model_fields
    durations = {
        name: timedelta(seconds=value)
        for name, value in changes.items()
        if isinstance(value, int | float) and fields[name].annotation is timedelta
    }
    return StateSettings(
        database_url=database_url,
        redis_url=redis_url,
        **{**changes, **durations},
    )


async def eventually(
    holds: Callable[[], bool | Awaitable[bool]], within_s: float = 10.0, *, what: str = ""
) -> float:
    """Wait until a condition holds; return how long that took.

    Raises:
        AssertionError: it did not within the time.
    """
    began = time.monotonic()
    while True:
        found = holds()
        if not isinstance(found, bool):
            found = await found
        if found:
            return time.monotonic() - began
        if time.monotonic() - began > within_s:
            raise AssertionError(f"not within {within_s} s: {what or holds}")
        await asyncio.sleep(0.01)
