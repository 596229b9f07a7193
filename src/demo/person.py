"""A person who speaks in tones: joins a LiveKit room, publishes audio, and hears the others.

What was heard is timed as it arrives, by the monotonic clock, so figures hold the whole way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from livekit import api, rtc

from src.agents.providers.phrases import pitch
from src.agents.providers.tone import SAMPLE_RATE, tone

_LOUD = 500.0
"""Root mean square of 16-bit samples, from which on it is sound."""
_FRAME_S = 0.01
_BREAK_S = 1.0
"""What is played has a break when nothing came for so long."""
_ALL_LATE = 30
"""So many pieces, of 10 ms, do not all wait."""
_PAUSE_S = 0.5
"""The silence by which others know that somebody has ended."""


@dataclass
class Heard:
    """What one participant was heard to say: when it sounded, and at what pitch."""

    sounds: list[tuple[float, float]] = field(default_factory=list)
    """(from, to) on the monotonic clock, gaps under 100 ms closed."""
    samples: list[np.ndarray] = field(default_factory=list)
    _played: float = 0.0
    """Until when sound and silence were taken."""
    _late: list[float] = field(default_factory=list)
    """How late the last pieces came."""

    def take(self, frame: rtc.AudioFrame, now: float) -> None:
        """Take the next piece of what is played without a break, silence too.

        Pieces come in real time. One that comes late was waiting for this process, and begins when
        the one before it ends; when all of them have been late for a while, some were lost.
        """
        began = now - frame.duration
        late = began - self._played
        if 0 <= late < _BREAK_S:
            self._late.append(late)
            began = self._played
            if len(self._late) == _ALL_LATE:
                began += min(self._late)
                self._late.clear()
        else:
            self._late.clear()
        self._played = began + frame.duration
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32)
        if np.sqrt(np.mean(samples**2)) < _LOUD:
            return
        self.samples.append(samples)
        if self.sounds and began - self.sounds[-1][1] < 0.1:
            self.sounds[-1] = (self.sounds[-1][0], self._played)
        else:
            self.sounds.append((began, self._played))

    def first_after(self, moment: float) -> float:
        """When it sounded first after a moment."""
        return min(began for began, _ in self.sounds if began > moment)

    def silent_after(self, moment: float) -> float:
        """When what sounded at a moment fell silent; the moment itself, if nothing did."""
        return max((to for began, to in self.sounds if began <= moment < to), default=moment)

    def overlap(self, other: Heard) -> float:
        """For how many seconds both were heard at once, at the longest."""
        both = (
            min(one[1], two[1]) - max(one[0], two[0]) for one in self.sounds for two in other.sounds
        )
        return max(both, default=0.0)

    @property
    def pitch(self) -> float:
        """The pitch of all that sounded, in Hz."""
        return pitch(np.concatenate(self.samples), 48_000) if self.samples else 0.0


class Person:
    """In a room. Waiting is the caller's, who bounds it."""

    def __init__(self, identity: str, room: rtc.Room) -> None:
        self.identity, self.room = identity, room
        self.heard: dict[str, Heard] = {}
        self._source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=200)
        self._listening: set[asyncio.Task[None]] = set()
        room.on("track_subscribed", self._hear)

    async def publish(self) -> None:
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)

    async def say(self, hz: float, seconds: float = 0.4) -> float:
        """Speak a tone, in real time, and be silent for a moment; return when it began."""
        data = tone(hz, seconds) + bytes(2 * int(_PAUSE_S * SAMPLE_RATE))
        began = time.monotonic()
        size = 2 * int(_FRAME_S * SAMPLE_RATE)
        for at in range(0, len(data) - size + 1, size):
            await self._source.capture_frame(
                rtc.AudioFrame(data[at : at + size], SAMPLE_RATE, 1, size // 2)
            )
        return began

    def seconds_of(self, identity: str) -> float:
        """How long a participant was heard so far."""
        heard = self.heard.get(identity)
        return 0.0 if heard is None else sum(to - at for at, to in heard.sounds)

    def _hear(
        self,
        track: rtc.Track,
        _: rtc.RemoteTrackPublication,
        speaker: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            task = asyncio.create_task(self._listen(track, speaker.identity))
            self._listening.add(task)
            task.add_done_callback(self._listening.discard)

    async def _listen(self, track: rtc.Track, identity: str) -> None:
        heard = self.heard.setdefault(identity, Heard())
        stream = rtc.AudioStream(track, sample_rate=48_000, num_channels=1)
        try:
            async for event in stream:
                heard.take(event.frame, time.monotonic())
        finally:
            await stream.aclose()

    async def leave(self) -> None:
        for task in list(self._listening):
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        await self.room.disconnect()
        await self._source.aclose()


@asynccontextmanager
async def joined(
    url: str,
    key: str,
    secret: str,
    room: str,
    identity: str,
    kind: Literal["standard", "sip"] = "standard",
) -> AsyncIterator[Person]:
    """Join a room as a person who publishes a microphone; `sip` is one who telephones."""
    token = (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_name(identity.title())
        .with_kind(kind)
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .to_jwt()
    )
    async with joined_by(url, token) as person:
        yield person


@asynccontextmanager
async def joined_by(url: str, token: str) -> AsyncIterator[Person]:
    """Join the room that a token names."""
    connection = rtc.Room()
    await connection.connect(url, token)
    person = Person(connection.local_participant.identity, connection)
    try:
        await person.publish()
        yield person
    finally:
        await person.leave()
