"""What drivers raise when their store gave no answer, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from src.state.errors import TierUnavailable


@contextmanager
def answered(
    errors: tuple[type[Exception], ...], unavailable: type[TierUnavailable], store: str
) -> Iterator[None]:
    """Turn `errors`, and a write to a connection that has just gone, into `unavailable`."""
    expected: tuple[type[Exception], ...] = (*errors, RuntimeError)
    try:
        yield
    except expected as error:
        if isinstance(error, RuntimeError) and not _is_gone(error):
            raise
        raise unavailable(f"{store} did not answer: {error!r}") from error


def _is_gone(error: RuntimeError) -> bool:
    """Whether uvloop refused to write because the connection had broken a moment before.

    asyncio's own loop drops such bytes, and the driver meets the break when it reads the answer.
    uvloop raises from the write, which neither redis-py nor asyncpg takes for a lost connection.
    """
    return "the handler is closed" in str(error)
