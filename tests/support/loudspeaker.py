"""A stage without sound: it takes its time, and says what was heard of a speech."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src.swarm.configs.bots import BotConfig
from src.swarm.dialogue.stage import Heard, Spoken
from src.swarm.providers import Sound


class Loudspeaker:
    """A stage on which every character takes a tenth of a second."""

    def __init__(self) -> None:
        self.speaking: set[str] = set()
        self.most = 0
        self.broken: Exception | None = None
        """Raised where a speech begins ..."""
        self.fails: Exception | None = None
        """... or where it is over."""

    @asynccontextmanager
    async def speech(self, bot_id: str, bot: BotConfig, heard: Heard) -> AsyncIterator["_Speech"]:
        if self.broken is not None:
            raise self.broken
        self.speaking.add(bot_id)
        self.most = max(self.most, len(self.speaking))
        try:
            yield _Speech(heard, self.fails)
        finally:
            self.speaking.discard(bot_id)


class _Speech:
    def __init__(self, heard: Heard, fails: Exception | None) -> None:
        self._fails = fails
        self._text = ""
        self._heard = 0
        self._on_heard = heard

    async def add(self, text: str) -> None:
        self._text += text
        for _ in text:
            self._on_heard(self._text, self._heard)
            await asyncio.sleep(0.1)
            self._heard += 1
        self._on_heard(self._text, self._heard)

    async def play(self, sound: Sound) -> None:
        raise AssertionError("these bots have no sound of their own")

    async def finish(self) -> Spoken:
        if self._fails is not None:
            raise self._fails
        return Spoken(self._text)

    async def interrupt(self) -> Spoken:
        if self._fails is not None:
            raise self._fails
        return Spoken(self._text if self._heard else "", self._heard)
