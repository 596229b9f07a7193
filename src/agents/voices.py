"""Voices: each bot has a mouth of its own where it is heard, and says what it is given.

What a bot says is made by the swarm; a voice makes sound of it. So there is one way to a bot's
words, in rooms of text and of sound, with one chain of fallbacks and one set of limits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import structlog
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import AgentStateChangedEvent, SpeechHandle
from livekit.agents.voice.io import TextOutput

from src.agents.closing import Closing
from src.agents.errors import VoiceFailed
from src.agents.providers import registry
from src.agents.providers.models import Models
from src.agents.providers.shared import SharedVoice
from src.agents.venue import Mouth, Venue
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.dialogue.stage import Heard, Spoken
from src.swarm.providers import Sound
from src.swarm.shapes import free_json

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

_PIECES = 32
"""Pieces of a speech that wait for its voice; who makes more has to wait."""
_SILENCE_S = 5.0
"""How long a voice may take to fall silent."""
_ARRIVAL_S = 10.0
"""How long the bots may take to enter a room that has just begun; turns wait so long."""


class Voices:
    """`Stage` in a venue."""

    def __init__(self, venue: Venue, models: Models) -> None:
        self._venue, self._models = venue, models
        self._voices: dict[str, Voice] = {}
        self._closing = Closing()
        self._brought = asyncio.Event()
        """Whether the bots were brought in, once at least."""
        self._began, self._entering_s = time.monotonic(), 0.0
        self.on_lost: Callable[[], None] = lambda: None
        """Called when a voice that was in the room is not any more."""

    def __len__(self) -> int:
        return len(self._voices)

    async def bring(self, bots: Mapping[str, str]) -> Sequence[Exception]:
        """Have exactly these bots in the room, {id: name}; who leaves finishes nothing.

        Returns what keeps one out: the others can speak.
        """
        for id, voice in list(self._voices.items()):
            if id not in bots or voice.lost:
                del self._voices[id]
                await self._closing.close(voice.aclose())
        # Side by side: each has to wait for LiveKit.
        async with asyncio.TaskGroup() as tasks:
            entries = [
                tasks.create_task(self._let_in(id, name))
                for id, name in bots.items()
                if id not in self._voices
            ]
        if not self._brought.is_set():
            self._brought.set()
            # By these an operator sees what of a room's start is ours, and what LiveKit's.
            log.info(
                "room.ready",
                room=self._venue.name,
                bots=len(self._voices),
                took_s=round(time.monotonic() - self._began, 3),
                entering_s=round(self._entering_s, 3),
            )
        return [problem for entry in entries if (problem := entry.result()) is not None]

    async def _let_in(self, id: str, name: str) -> VoiceFailed | None:
        """Have a bot in the room; return what keeps it out."""
        try:
            self._voices[id] = await self._open(id, name)
        except VoiceFailed as error:
            return error
        return None

    async def _open(self, id: str, name: str) -> Voice:
        began = time.monotonic()
        mouth = await self._venue.enter(id, name)
        # They enter at the same time: the last one says how long it took.
        self._entering_s = max(self._entering_s, time.monotonic() - began)
        voice = Voice(id, mouth, self._models, self._lost)
        try:
            await voice.start()
        except BaseException:
            await self._closing.close(voice.aclose())
            raise
        return voice

    def _lost(self) -> None:
        self.on_lost()

    async def aclose(self) -> None:
        """Take all bots out of the room."""
        voices, self._voices = self._voices, {}
        await self._closing.close(*(voice.aclose() for voice in voices.values()))
        await self._closing.done()

    @asynccontextmanager
    async def speech(self, bot_id: str, bot: BotConfig, heard: Heard) -> AsyncIterator[VoiceSpeech]:
        # Its conversation may be here, with turns to answer, before its bots are.
        with suppress(TimeoutError):
            async with asyncio.timeout(_ARRIVAL_S):
                await self._brought.wait()
        voice = self._voices.get(bot_id)
        if voice is None or voice.lost:
            raise VoiceFailed(bot_id, "it is not in the room")
        await voice.use(bot)
        speech = VoiceSpeech(voice, heard)
        try:
            yield speech
        finally:
            try:
                await speech.interrupt()
            finally:
                speech.close()
                await self._closing.close(voice.release())


async def given(pieces: asyncio.Queue[_T | None]) -> AsyncIterator[_T]:
    """Give what is put into a queue, up to the first None."""
    while (piece := await pieces.get()) is not None:
        yield piece


class Voice:
    """One bot in one venue: its mouth, and the session that makes sound of what it says."""

    def __init__(
        self, bot_id: str, mouth: Mouth, models: Models, on_lost: Callable[[], None]
    ) -> None:
        self.bot_id, self._mouth, self._models = bot_id, mouth, models
        self._on_lost = on_lost
        self.lost = False
        """It is not in the room, or cannot speak any more."""
        self._made_of: tuple[ProviderNames, str] | None = None
        self.transcript = Transcript()
        self._sounds: list[SharedVoice] = []
        """What it speaks with, last; before it what speeches may still use."""
        self._speeches = 0
        self.session: AgentSession[None] = AgentSession(
            vad=None,
            turn_handling={"turn_detection": "manual", "preemptive_generation": {"enabled": False}},
            user_away_timeout=None,
            aec_warmup_duration=None,
        )
        self.session.on("close", self._lose)

    async def start(self) -> None:
        await self._mouth.open(self.session, self.transcript, self._lose)

    def _lose(self, *_: object) -> None:
        self.lost = True
        self._on_lost()

    async def use(self, bot: BotConfig) -> None:
        """Speak from now on with what this config names, for one speech more; see `release`.

        Raises:
            ProviderMissing, BadProvider, ProviderFailed: it speaks as before.
            VoiceFailed: it left meanwhile.
        """
        made_of = (bot.providers, bot.voice)
        if made_of != self._made_of:
            sound = await registry.voice(self._models, bot.providers, bot.voice)
            if self.lost:
                await sound.aclose()
                raise VoiceFailed(self.bot_id, "it left the room")
            self.session.current_agent.update_options(tts=sound)
            self._sounds.append(sound)
            self._made_of = made_of
        self._speeches += 1

    async def release(self) -> None:
        """A speech is over; after the last one, what was replaced meanwhile is closed."""
        self._speeches -= 1
        if not self._speeches:
            await self._close_sounds(keep=1)

    async def _close_sounds(self, *, keep: int) -> None:
        while len(self._sounds) > keep:
            await self._sounds.pop(0).aclose()

    async def aclose(self) -> None:
        self.lost = True
        try:
            await self.session.aclose()
        finally:
            await self._close_sounds(keep=0)
            await self._mouth.aclose()


class Transcript(TextOutput):
    """The words of a voice at about the time when they are heard, as LiveKit reckons it."""

    def __init__(self) -> None:
        super().__init__(label="swarmstate", next_in_chain=None)
        self.on_words: Callable[[str], None] = lambda _: None

    async def capture_text(self, text: str) -> None:
        self.on_words(text)

    def flush(self) -> None:
        """End a segment: nothing here depends on it."""


class VoiceSpeech:
    """`Speech` of a voice."""

    def __init__(self, voice: Voice, heard: Heard) -> None:
        self._voice, self._on_heard = voice, heard
        self._heard = 0
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue(_PIECES)
        self._sounds: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue(_PIECES)
        self._given: list[str] = []
        self._handle: SpeechHandle | None = None
        self._began = time.monotonic()
        self._silent_s: float | None = None
        """How long until the first sound; None: there was none yet."""
        voice.session.on("agent_state_changed", self._on_state)
        voice.transcript.on_words = self._on_words

    async def add(self, text: str) -> None:
        self._given.append(text)
        if self._handle is None:
            self._handle = self._voice.session.say(given(self._pieces))
        await self._put(self._handle, self._pieces.put(text))

    async def play(self, sound: Sound) -> None:
        if self._handle is None:
            self._handle = self._voice.session.say(given(self._pieces), audio=given(self._sounds))
        frame = rtc.AudioFrame(sound.pcm, sound.sample_rate, 1, len(sound.pcm) // 2)
        await self._put(self._handle, self._sounds.put(frame))

    async def _put(self, handle: SpeechHandle, put: Coroutine[Any, Any, None]) -> None:
        putting = asyncio.ensure_future(put)
        ending = asyncio.ensure_future(handle.wait_for_playout())
        await asyncio.wait((putting, ending), return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not putting.done():
            putting.cancel()
            raise VoiceFailed(self._voice.bot_id, "it ended before all was said")

    async def finish(self) -> Spoken:
        if self._handle is None:
            return Spoken("")
        for pieces in (self._pieces, self._sounds):
            await self._put(self._handle, pieces.put(None))
        await self._handle.wait_for_playout()
        return self._spoken(self._handle)

    async def interrupt(self) -> Spoken:
        if self._handle is None:
            return Spoken("")
        if not self._handle.done():
            self._handle.interrupt(force=True)
            async with asyncio.timeout(_SILENCE_S):
                await self._handle.wait_for_playout()
        return self._spoken(self._handle)

    def close(self) -> None:
        """Hear of the voice no more."""
        self._voice.session.off("agent_state_changed", self._on_state)
        self._voice.transcript.on_words = lambda _: None

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and self._silent_s is None:
            self._silent_s = time.monotonic() - self._began
            self._tell()

    def _on_words(self, words: str) -> None:
        self._heard += len(words)
        if self._silent_s is not None:
            self._tell()

    def _tell(self) -> None:
        given = "".join(self._given)
        self._on_heard(given, min(self._heard, len(given)))

    def _spoken(self, handle: SpeechHandle) -> Spoken:
        if error := handle.exception():
            raise VoiceFailed(self._voice.bot_id, repr(error)) from error
        if self._silent_s is None:
            return Spoken("")
        text = "".join(self._given)
        message = next((item for item in handle.chat_items if item.type == "message"), None)
        heard = 0 if message is None else len(message.text_content or "")
        metrics = {} if message is None else message.metrics
        return Spoken(
            text,
            min(heard, len(text)) if handle.interrupted else None,
            self._silent_s,
            free_json.write(metrics),
        )
