"""Where the bots of a running conversation are heard: the port between dialogue and a voice room.

A conversation without a stage is a text room: what a bot says there is a turn when it is whole,
and nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from src.swarm.configs.bots import BotConfig
from src.swarm.providers import Sound
from src.swarm.shapes.free_json import EMPTY, Object

Heard = Callable[[str, int], None]
"""Told all that a speech was given so far, and how many characters of it were heard; 0: only the
first sound was."""


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """What became of a speech."""

    text: str
    """All that the bot was given to say; empty: nobody heard anything of it."""
    spoken_until: int | None = None
    """How many characters of it were heard; None: all."""
    silent_s: float = 0.0
    """How long it took until the first word was heard."""
    metrics: Object = EMPTY


class Speech(Protocol):
    """One speech of one bot, under way."""

    async def add(self, text: str) -> None:
        """Say this next. Waits while too much of what came before is still unsaid.

        Raises:
            VoiceFailed: the voice cannot speak (any more).
        """
        ...

    async def play(self, sound: Sound) -> None:
        """Sound like this next; what is added is the text of it then. Waits like `add`.

        Raises:
            VoiceFailed: the voice cannot speak (any more).
        """
        ...

    async def finish(self) -> Spoken:
        """Return when all of it was heard, or when the voice was stopped from elsewhere.

        Raises:
            VoiceFailed: the voice cannot speak (any more).
        """
        ...

    async def interrupt(self) -> Spoken:
        """Be silent at once, and say what was heard until then."""
        ...


class Stage(Protocol):
    """The bots' voices in one room. Whoever gives it to the host says when it is gone."""

    def speech(
        self, bot_id: str, bot: BotConfig, heard: Heard
    ) -> AbstractAsyncContextManager[Speech]:
        """Begin a speech; a block that is left early silences it.

        `heard` is called in the caller's loop when the first sound is heard and as it goes on.

        Raises:
            VoiceFailed: this bot has no voice here.
        """
        ...


class Writing:
    """The speech of a text room."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    async def __aenter__(self) -> Writing:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def add(self, text: str) -> None:
        self._parts.append(text)

    async def play(self, sound: Sound) -> None:
        """Nobody hears it in a room of text."""

    async def finish(self) -> Spoken:
        return Spoken("".join(self._parts))

    async def interrupt(self) -> Spoken:
        return Spoken("")
