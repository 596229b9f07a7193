"""Ending a wait before its time."""

from __future__ import annotations

import asyncio


def cut_short(wait: asyncio.Timeout) -> None:
    """Have `asyncio.timeout` end a wait now; nothing if it is on its way out already.

    What is slow to end may be told so again, and a time-out that is expiring takes no new time.
    """
    if not wait.expired():
        # In the past: the task is cancelled, and `timeout` makes an error of it.
        wait.reschedule(0.0)
