"""Sessions at their end: when a room or a call is over, one server keeps what it was, once.

Who notices the end of a room: its host, LiveKit's webhook, the look at all rooms, or the room's
next life; that of a call: its server, or that nobody notes any more that it goes on. All of them
only see to it that there is a row; whoever claims the row does the work. What it writes into the
log has the session's own key, so a second one who does it again, since the first died in the
middle, finds the first one's word there and goes on from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta

import structlog
from msgspec.structs import replace

from src.state.errors import NotFound, Refused, StateError
from src.state.models import Term
from src.state.records.finalised import Counted, Ended, Finalised, Life
from src.swarm.configs.bots import OFFLINE, BotConfig
from src.swarm.dialogue.generating import generate
from src.swarm.errors import SwarmError
from src.swarm.in_force import InForce
from src.swarm.providers import ReplyRequest, Text
from src.swarm.providers.registry import Registry
from src.swarm.rooms.summary import belongs, counted, id_of, precedes, summary_of
from src.swarm.rules.turns import heard
from src.swarm.service import SwarmService
from src.swarm.shapes import bounds
from src.swarm.shapes.codec import decode_event
from src.swarm.shapes.commands import SummariseSession
from src.swarm.shapes.events import SessionSummarised
from src.swarm.shapes.models import Author, ConversationState, Message

log = structlog.get_logger(__name__)

_AT_ONCE = 10
_SILENT = timedelta(seconds=120)
"""A call that nobody notes for so long has died with its server."""
_PAGE = 200
_TURNS = 2_000
"""Turns of a session that are counted; of a longer one the last."""
_SHOWN = 200
"""Turns that a model is shown; of a longer session the last."""
_MODEL_S = 30.0
"""How long a model may take for its summary."""
_WITHIN_S = 90.0
_ASK = (
    "Summarise the conversation above in at most five sentences for those who were not there: "
    "what it was about, what was decided, and what is left to do. Write the summary alone."
)


class Finaliser:
    """Keeps what sessions were, on behalf of all servers."""

    def __init__(
        self, records: Finalised, service: SwarmService, in_force: InForce, registry: Registry
    ) -> None:
        self._records, self._service = records, service
        self._in_force, self._registry = in_force, registry
        self.finalised = 0

    def counts(self) -> Mapping[str, float]:
        """Return the counters of this server, for metrics."""
        return {"sessions_finalised": self.finalised}

    async def finalise_as_duty(self, _: Term) -> None:
        """Finalise what is due: what others have begun and not finished, too."""
        for ended in await self._records.claim_due(_AT_ONCE):
            await self._finalise(ended)

    async def alive(self, calls: Sequence[Life]) -> None:
        """Note that calls go on; to be said again within two minutes, or they are over.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer.
        """
        await self._records.alive(calls, _SILENT)

    async def hung_up(self, call: Life) -> None:
        """Have a call finalised that is over, with all that was said in it logged.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; it is found to be over by and by.
        """
        await self._records.alive((call,), timedelta())

    async def over(self, room_id: str, began: int) -> None:
        """Finalise a life whose host has logged all that was said in it, unless somebody is at it.

        Raises:
            DurableTierUnavailable: PostgreSQL did not answer; the duty will find it.
        """
        ended = await self._records.claim(room_id, began)
        if ended is not None:
            await self._finalise(ended)

    async def _finalise(self, ended: Ended) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                seq, numbers = await self._kept(ended)
                await self._records.done(ended, seq, numbers)
        except (StateError, SwarmError, TimeoutError) as error:
            log.warning("session.not_finalised", session=id_of(ended), error=repr(error))
            # Should that fail too, the claim ends by itself.
            await self._records.release(ended)
            return
        self.finalised += 1
        log.info("session.finalised", session=id_of(ended), turns=numbers.turns, seq=seq)

    async def _kept(self, ended: Ended) -> tuple[int | None, Counted]:
        """Have the log keep it; return the event's number, and what it says in numbers."""
        id = ended.conversation_id
        try:
            state = (await self._service.read(id)).entry.state
            turns = await self._turns(ended)
            if not turns:
                return None, Counted()
            models = await self._models(state)
            text = await self._told(state, turns)
            session = summary_of(ended, turns, models, text, bool(text))
            command, key = SummariseSession(session), f"session-{id_of(ended)}"
            receipt = await self._service.submit(id, command, key=key, actor="room")
            # Not what was just made: somebody else may have been the first.
            seq = receipt.version.seq
            [event] = await self._service.events(id, after=seq - 1, limit=1)
        except NotFound:
            return None, Counted()
        fact = decode_event(event.type, event.schema, event.body)
        if not isinstance(fact, SessionSummarised):
            raise Refused("exists", f"event {seq} of {id} has the key {key} and is no session")
        return seq, counted(fact.session)

    async def _turns(self, ended: Ended) -> Sequence[Message]:
        """Return the turns of the session, in order; of a long one the last."""
        found: list[Message] = []
        before: int | None = None
        while len(found) < _TURNS:
            page = await self._service.messages(ended.conversation_id, before=before, limit=_PAGE)
            found += [turn for turn in page.messages if belongs(ended, turn)]
            if page.next_cursor is None or precedes(ended, page.messages[-1]):
                break
            before = int(page.next_cursor)
        return found[:_TURNS][::-1]

    # -- models ----------------------------------------------------------------------------------

    async def _models(self, state: ConversationState) -> Mapping[str, str]:
        shared = state.config.llm_config.model or OFFLINE
        bots = await self._in_force.bots(state)
        return {
            id: shared if record is None else record.body.providers.llm or shared
            for id, record in bots.items()
        }

    async def _told(self, state: ConversationState, turns: Sequence[Message]) -> str:
        """Return what a model says of it; empty: none is named, or it did not answer in time."""
        scribe = await self._scribe(state)
        if scribe is None:
            return ""
        shown = tuple(
            replace(turn, text=heard(turn) or "...", interrupted=False) for turn in turns[-_SHOWN:]
        )
        last = turns[-1].ended_at
        ask = Message("ask", Author("system", "room", "room"), "system", _ASK, last, last)
        asked = replace(state, messages=(*shown, ask))
        request = ReplyRequest("scribe", scribe, asked, ask)
        parts = generate(self._registry, request, reply_s=_MODEL_S, first_part_s=_MODEL_S)
        try:
            async with asyncio.timeout(_MODEL_S), aclosing(parts):
                told = [part.text async for part in parts if isinstance(part, Text)]
        except Exception as error:
            # Whatever a provider's library raises: the session's own words do as well.
            log.warning("session.not_told", conversation_id=state.id, error=repr(error))
            return ""
        return _storable("".join(told))

    async def _scribe(self, state: ConversationState) -> BotConfig | None:
        """Return who tells of it: by the conversation's model, else by the first bot's own."""
        if state.config.llm_config.model not in ("", OFFLINE):
            return BotConfig(name="Scribe")
        for record in (await self._in_force.bots(state)).values():
            if record is not None and record.body.providers.llm not in ("", OFFLINE):
                return BotConfig(name="Scribe", providers=record.body.providers)
        return None


def _storable(text: str) -> str:
    """Return the words of a model without what no log can hold, as long as a note may be."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "").strip()
    return clean[: bounds.NOTE_CHARS]
