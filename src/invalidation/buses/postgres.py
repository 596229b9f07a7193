"""Announcements over LISTEN / NOTIFY, for while Redis is away.

Not numbered: whoever listens here also probes L3 for entries of servers that do not announce.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from src.invalidation.messages import Message, decode_message, encode_changes
from src.state.buffers import Buffer
from src.state.models import Announcement
from src.state.settings import StateSettings
from src.state.tiers.postgres import NO_ANSWER, Line, answering, connect

CHANNEL = "swarmstate_changes"
_PER_MESSAGE = 30
"""A notification holds 8000 bytes; an id has at most 128 characters."""
_MAX_WAITING = 10_000


class PostgresNotices:
    """Sends and hears notifications on connections of their own."""

    def __init__(self, line: Line, settings: StateSettings) -> None:
        self._line = line
        self._settings = settings
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue(_MAX_WAITING)
        self._left_out = 0

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here."""
        return {"notices": Buffer(self._heard.qsize(), _MAX_WAITING, self._left_out)}

    async def publish(self, origin: str, changes: Sequence[Announcement]) -> None:
        """Notify all listeners; each statement commits by itself.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        for start in range(0, len(changes), _PER_MESSAGE):
            payload = encode_changes(origin, tuple(changes[start : start + _PER_MESSAGE]))
            async with self._line.use() as connection:
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload.decode())

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Message]]:
        """Listen; the iterator ends when the connection breaks.

        Raises:
            DurableTierUnavailable: no connection.
        """
        connection = await connect(self._settings)
        heard: asyncio.Queue[Message | None] = asyncio.Queue(_MAX_WAITING)
        self._heard = heard

        def on_notice(*arguments: object) -> None:
            self._left_out += heard.full()
            payload = str(arguments[3]).encode()
            _offer(heard, decode_message(-1, b"notify 0 " + payload))

        def on_end(*_: object) -> None:
            _offer(heard, None)

        connection.add_termination_listener(on_end)
        try:
            with answering():
                await connection.add_listener(CHANNEL, on_notice)
            yield _until_none(heard)
        finally:
            try:
                await connection.close(timeout=1)
            except NO_ANSWER:
                connection.terminate()


def _offer(queue: asyncio.Queue[Message | None], item: Message | None) -> None:
    if queue.full():
        # Whoever is this far behind must reconcile anyway: end the subscription.
        queue.get_nowait()
        item = None
    queue.put_nowait(item)


async def _until_none(queue: asyncio.Queue[Message | None]) -> AsyncIterator[Message]:
    while (message := await queue.get()) is not None:
        yield message
