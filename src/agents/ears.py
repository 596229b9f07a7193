"""Ears: a listening session for each person, whose final transcripts become turns.

People first: as soon as somebody makes a sound the floor knows it, and it is theirs until what
they said is a turn, or for a moment when nothing was understood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog
from livekit.agents import Agent, AgentSession, StopResponse, llm
from livekit.agents.voice import UserStateChangedEvent

from src.agents.closing import Closing
from src.agents.port import Floor
from src.agents.providers import registry
from src.agents.providers.models import Models
from src.agents.venue import Heard, Venue
from src.swarm.configs.bots import ProviderNames

log = structlog.get_logger(__name__)

_SETTLE_S = 1.5
"""How long after a sound the floor stays its maker's, when no words come of it."""

_LAST_WORDS_S = 3.0
"""How long what somebody is saying may take to become a turn when the ear is to go."""


class Ears:
    """The ears of one room, one person each."""

    def __init__(self, venue: Venue, floor: Floor, heard: Heard, models: Models) -> None:
        self._venue, self._floor, self._heard = venue, floor, heard
        self._models = models
        self._ears: dict[str, Ear] = {}
        self._closing = Closing()
        self.on_lost: Callable[[], None] = lambda: None
        """Called when somebody who was listened to is not any more."""

    @property
    def people(self) -> frozenset[str]:
        """Who is listened to."""
        return frozenset(self._ears)

    async def listen(self, person_id: str, providers: ProviderNames) -> None:
        """Listen to a person from now on.

        Raises:
            ProviderMissing, BadProvider, ProviderFailed: nothing to hear with.
        """
        if person_id not in self._ears:
            hearing = await registry.hearing(self._models, providers)
            ear = Ear(person_id, self._floor, self._heard, hearing, self._lost)
            try:
                await ear.open(self._venue)
            except BaseException:
                await self._closing.close(ear.aclose())
                raise
            self._ears[person_id] = ear

    def _lost(self, ear: Ear) -> None:
        if self._ears.get(ear.person_id) is ear:
            del self._ears[ear.person_id]
            log.warning("ear.lost", room=self._venue.name, person=ear.person_id)
            self._closing.begin(ear.aclose())
            self.on_lost()

    async def forget(self, person_id: str) -> None:
        """Listen no more; the last words are still understood."""
        ear = self._ears.pop(person_id, None)
        if ear is not None:
            await self._closing.close(ear.aclose())

    async def aclose(self) -> None:
        """Listen to nobody; what was begun to be said is still understood."""
        ears, self._ears = self._ears, {}
        await self._closing.close(*(ear.aclose() for ear in ears.values()))
        await self._closing.done()


class Ear:
    """Hears one person."""

    def __init__(
        self,
        person_id: str,
        floor: Floor,
        heard: Heard,
        hearing: registry.Hearing,
        lost: Callable[[Ear], None],
    ) -> None:
        """`lost` is called when it hears nothing any more: its provider failed too often."""
        self._id, self._floor = person_id, floor
        self._hearing = hearing
        self._session: AgentSession[None] = AgentSession(
            stt=hearing.stt,
            vad=hearing.vad,
            turn_handling={
                "turn_detection": "vad",
                "endpointing": {"min_delay": 0.1, "max_delay": 1.0},
                "preemptive_generation": {"enabled": False},
            },
            user_away_timeout=None,
            aec_warmup_duration=None,
        )
        self._listener = _Listener(self, heard)
        self._settling: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.began: datetime | None = None
        self._session.on("user_state_changed", self._on_state)
        self._session.on("close", lambda _: lost(self))

    async def open(self, venue: Venue) -> None:
        await venue.listen(self._id, self._session, self._listener)

    async def aclose(self) -> None:
        # A session that closes takes no turn any more, also of what it has heard already.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._quiet.wait()
        try:
            await self._session.aclose()
        finally:
            await self._hearing.aclose()
            self.settled()

    def _on_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self.began = datetime.now(UTC)
            self._settle(None)
            self._quiet.clear()
            self._floor.person_starts(self._id)
        elif event.old_state == "speaking":
            self._settle(_SETTLE_S)

    def _settle(self, after_s: float | None) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._settling = None
        if after_s is not None:
            self._settling = asyncio.get_running_loop().call_later(after_s, self.settled)

    def settled(self) -> None:
        """What was said is a turn, or was nothing: bots may speak."""
        self._settle(None)
        self._quiet.set()
        self._floor.person_stops(self._id)

    @property
    def person_id(self) -> str:
        """Whose ear this is."""
        return self._id


class _Listener(Agent):
    """Takes what was said, and lets nobody answer here."""

    def __init__(self, ear: Ear, heard: Heard) -> None:
        super().__init__(instructions="")
        self._ear, self._heard = ear, heard

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        text = (new_message.text_content or "").strip()
        began, self._ear.began = self._ear.began or datetime.now(UTC), None
        try:
            if text:
                await self._heard(self._ear.person_id, new_message.id, text, began)
        finally:
            self._ear.settled()
        raise StopResponse
