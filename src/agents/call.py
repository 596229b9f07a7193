"""One person's call as a venue: one microphone, one loudspeaker, and every bot speaks into it.

The floor lets one bot speak at a time, so their sound is never mixed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import TextOutput
from livekit.agents.voice.transcription import TranscriptSynchronizer

from src.agents.sound import Echoes, Microphone, Playback
from src.agents.venue import Closed, Heard, Person
from src.swarm.rooms.calls import Caller, Wire

_LAST_WORDS_S = 5.0
"""How long an ear may take to hear what was said before the call was hung up."""

_NOTICED_S = 0.5
"""How long it may take then until the ear notices that somebody speaks: it waits for that."""


class CallVenue:
    """`Venue` of one call, in the loop of calls; `Line` of it for who brings the sound at home."""

    def __init__(
        self, name: str, caller: Caller, wire: Wire, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Begin a call, in the loop of the wire; the venue lives in the other loop."""
        self._name, self._loop = name, loop
        self._person = Person(caller.id, caller.name, caller.user_id, name)
        self._wire, self._echoes = WireAbroad(wire, asyncio.get_running_loop()), Echoes()
        self._microphone = Microphone(wire.sample_rate, loop)
        self._over = asyncio.Event()

    # -- the line --------------------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        self._microphone.push(pcm)

    def played(self, mark: str) -> None:
        self._loop.call_soon_threadsafe(self._echoes.played, mark)

    def hang_up(self) -> None:
        self._microphone.fall_silent()
        self._loop.call_soon_threadsafe(self._over.set)

    # -- the venue -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @asynccontextmanager
    async def attended(self, wrote: Heard, closed: Closed) -> AsyncIterator[None]:
        async def tell() -> None:
            await self._over.wait()
            # What was said last is heard before its ear goes.
            await self._microphone.drained(_LAST_WORDS_S)
            await asyncio.sleep(_NOTICED_S)
            closed(True)

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()

    def watch(self, changed: Callable[[], None]) -> None:
        """Nobody comes or goes: the call is over when the one person leaves."""

    def people(self) -> Mapping[str, Person]:
        return {self._person.id: self._person}

    async def listen(self, person_id: str, session: AgentSession[None], listener: Agent) -> None:
        session.input.audio = self._microphone
        await session.start(listener, record=False)

    async def enter(self, bot_id: str, name: str) -> CallMouth:
        return CallMouth(Playback(self._wire, self._echoes))


class CallMouth:
    """`Mouth` of one bot."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._together: TranscriptSynchronizer | None = None

    async def open(
        self, session: AgentSession[None], words: TextOutput, lost: Callable[[], None]
    ) -> None:
        together = self._together = TranscriptSynchronizer(
            next_in_chain_audio=self._playback, next_in_chain_text=words
        )
        session.output.audio = together.audio_output
        session.output.transcription = together.text_output
        await session.start(Agent(instructions=""), record=False)

    async def aclose(self) -> None:
        await self._playback.aclose()
        if self._together is not None:
            await self._together.aclose()


class WireAbroad:
    """`Wire` for the loop of calls, of a connection at home."""

    def __init__(self, wire: Wire, home: asyncio.AbstractEventLoop) -> None:
        self._wire, self._home = wire, home
        self.sample_rate, self.echoes = wire.sample_rate, wire.echoes

    def sound(self, pcm: bytes) -> None:
        self._home.call_soon_threadsafe(self._wire.sound, pcm)

    def clear(self) -> None:
        self._home.call_soon_threadsafe(self._wire.clear)

    def mark(self, name: str) -> None:
        self._home.call_soon_threadsafe(self._wire.mark, name)
