"""Where people and bots are heard: the port between a hosted conversation and its transport.

A room on LiveKit is one (`livekit_room.py`), one person's call over a WebSocket another
(`call.py`). Floor, responder, ears and voices know no other difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import TextOutput

Heard = Callable[[str, str, str, datetime], Awaitable[None]]
"""(person, id of what was said, text, when it was said)"""
Closed = Callable[[bool], None]
"""Told that the venue is closed: for good, or for this server alone."""


class Person(msgspec.Struct, frozen=True, gc=False):
    """A person who is there."""

    id: str
    name: str
    user_id: str | None
    """Whom the API says that this is."""
    visit: str
    """Another one each time that somebody comes."""


class Mouth(Protocol):
    """What one bot is heard through."""

    async def open(
        self, session: AgentSession[None], words: TextOutput, lost: Callable[[], None]
    ) -> None:
        """Start the session of a voice; `words` are told when they are about to be heard.

        `lost` is called when nothing can be heard through it any more.
        """
        ...

    async def aclose(self) -> None:
        """Leave; the session is closed already."""
        ...


class Venue(Protocol):
    """One place with its people."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        ...

    def attended(self, wrote: Heard, closed: Closed) -> AbstractAsyncContextManager[None]:
        """Be told, for the length of the block, what people write and that all is over."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this from now on when a person comes or goes."""
        ...

    def people(self) -> Mapping[str, Person]:
        """Return who is there, by id."""
        ...

    async def listen(self, person_id: str, session: AgentSession[None], listener: Agent) -> None:
        """Start the session of an ear on what a person says."""
        ...

    async def enter(self, bot_id: str, name: str) -> Mouth:
        """Let a bot in.

        Raises:
            VoiceFailed: it cannot be heard there.
        """
        ...
