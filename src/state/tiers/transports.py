"""What the event loop says when a connection breaks under a driver's hands."""

from __future__ import annotations


def is_gone(error: RuntimeError) -> bool:
    """Whether uvloop refused to write because the connection had broken a moment before.

    asyncio's own loop drops such bytes, and the driver meets the break when it reads the answer.
    uvloop raises from the write, which neither redis-py nor asyncpg takes for a lost connection.
    """
    return "the handler is closed" in str(error)
