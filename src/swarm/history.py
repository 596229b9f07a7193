"""Time travel: a conversation as it was at an event or at a time.

A state is the fold of its log, so an earlier one is the fold of a beginning of it. The log is
read page by page, from the snapshot on when that is early enough; nothing of it is cached.
"""

from __future__ import annotations

from datetime import datetime

from src.state.buffers import Buffer
from src.state.errors import NotFound
from src.state.models import Entry, Event
from src.state.reads.source import LogSource
from src.state.reads.turnstile import Turnstile
from src.swarm.shapes.models import ConversationState

_AT_ONCE = 2
_IN_LINE = 50


class History:
    """The past of all conversations, on any server."""

    def __init__(self, source: LogSource[ConversationState]) -> None:
        self._source = source
        # Each may fold a whole history: a few at once leave room for the present.
        self._looks = Turnstile("looks into the past", _AT_ONCE, _IN_LINE)

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here: who finds the line full is sent away."""
        return {"looks_into_the_past": self._looks.buffer}

    async def at(
        self, conversation_id: str, *, seq: int | None = None, time: datetime | None = None
    ) -> Entry[ConversationState]:
        """Return the state after the last event that has no higher number and is not later.

        Without both it is the newest logged state. `time` is compared with the times that the
        conversation's owners gave its events.

        Raises:
            NotFound: it has no event of this number, or none so early, or was deleted by then.
            Overloaded: too many look already.
            DurableTierUnavailable: PostgreSQL did not answer.
        """

        def within(event: Event) -> bool:
            return (seq is None or event.version.seq <= seq) and (time is None or event.at <= time)

        async with self._looks.turn():
            entry = await self._source.load_until(conversation_id, within)
        if entry is None or entry.state.status == "deleted":
            raise NotFound("conversation", f"{conversation_id} at that point")
        if seq is not None and time is None and entry.version.seq < seq:
            raise NotFound("event", f"{seq} of conversation {conversation_id}")
        return entry
