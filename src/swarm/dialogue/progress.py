"""How far the speech on a stage was heard, as the log is told beside it.

The voice waits for none of this: what was heard last is kept here, and one note at a time is on
its way to the log. While the log is away nothing is noted, and nothing is made up for later: the
next note says it all.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial

import structlog
from msgspec.structs import replace

from src.state.errors import StateError
from src.state.protocols import Clock
from src.swarm.dialogue.reports import command_key
from src.swarm.dialogue.stage import Heard
from src.swarm.errors import SwarmError
from src.swarm.outage import Submit
from src.swarm.shapes.commands import NoteSpeech

log = structlog.get_logger(__name__)

MOST = 100
"""Notes of one speech: the first sound and so many sentences less one; the end is its turn."""
_SENTENCE = re.compile(r"[.!?…](?=\s|$)|[。\uff01\uff1f\n]")


class Progress:
    """Notes of one stage. `submit` has the owner take a command, and no outage's room."""

    def __init__(self, conversation_id: str, submit: Submit, clock: Clock) -> None:
        self._id, self._submit, self._clock = conversation_id, submit, clock
        self._speech: NoteSpeech | None = None
        """What was heard of the speech under way."""
        self._sentences = self._notes = 0
        self._due = asyncio.Event()

    def begin(self, id: str, bot: str, reply_to: str, config_version: int | None) -> Heard:
        """Follow a speech that is to begin, until `end`; return what is told of it."""
        self.end()
        self._sentences = self._notes = 0
        self._speech = NoteSpeech(id, bot, "", 0, self._clock.now(), reply_to, config_version)
        return partial(self._heard, id)

    def end(self) -> None:
        """Note nothing more of the speech: its turn says it all."""
        self._speech = None
        self._due.clear()

    def _heard(self, id: str, text: str, characters: int) -> None:
        now = self._speech
        if now is None or now.id != id or not text:
            return
        first = not now.text
        began = self._clock.now() if first else now.started_at
        self._speech = replace(now, text=text, heard=characters, started_at=began)
        sentences = len(_SENTENCE.findall(text[:characters]))
        if (first or sentences > self._sentences) and self._notes < MOST:
            self._notes += 1
            self._sentences = sentences
            self._due.set()

    async def run(self) -> None:
        """Have the log told, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            speech = self._speech
            if speech is None:
                continue
            key = command_key(f"heard-{speech.heard}", speech.id, speech.bot)
            try:
                await self._submit(self._id, speech, key, speech.bot)
            except (StateError, SwarmError) as error:
                log.info("speech.not_noted", conversation_id=self._id, error=str(error))
            except Exception:
                # A defect here must not silence the room.
                log.exception("speech.not_noted", conversation_id=self._id)
