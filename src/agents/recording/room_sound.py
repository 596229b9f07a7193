"""The sound of a room on LiveKit: everybody's as the others hear it, bots' too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np
from livekit import rtc

from src.agents.people import is_person, member_of
from src.agents.recording.mix import RATE, Samples
from src.state.background import end
from src.swarm.rooms.protocols import BOT_PREFIX

PEOPLE, BOTS = 0, 1
"""Their channels."""
_PIECE_MS = 50
_WAITING = 600
"""Pieces of one source that wait for a busy loop: half a minute; beyond it the oldest go."""

Begin = Callable[[str, int], Callable[[Samples], None]]
"""(who is heard, as a member, and its channel) -> who takes each piece as it is heard"""


class RoomSound:
    """Listens to a room, in whose loop it lives."""

    def __init__(self, room: rtc.Room, begin: Begin) -> None:
        self._room, self._begin = room, begin
        self._listening: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Listen to everybody for the length of the block, to who comes meanwhile too."""
        events: dict[rtc.room.EventTypes, Callable[..., None]] = {
            "track_published": _subscribe,
            "track_subscribed": self._listen,
            "track_unsubscribed": self._forget,
        }
        for event, take in events.items():
            self._room.on(event, take)
        for publication, who in _audio(self._room):
            if publication.track is None:
                _subscribe(publication, who)
            else:
                self._listen(publication.track, publication, who)
        try:
            yield
        finally:
            for event, take in events.items():
                self._room.off(event, take)
            await end(self._listening.values())
            for publication, who in _audio(self._room):
                if not is_person(who):
                    publication.set_subscribed(False)

    def _listen(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        who: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO and publication.sid not in self._listening:
            self._listening[publication.sid] = asyncio.create_task(self._take(track, who))

    def _forget(
        self, _: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
    ) -> None:
        task = self._listening.get(publication.sid)
        if task is not None:
            task.cancel()
            task.add_done_callback(lambda _: self._listening.pop(publication.sid, None))

    async def _take(self, track: rtc.Track, who: rtc.RemoteParticipant) -> None:
        if is_person(who):
            take = self._begin(member_of(who.identity), PEOPLE)
        else:
            take = self._begin(member_of(who.identity.removeprefix(BOT_PREFIX)), BOTS)
        stream = rtc.AudioStream(
            track, capacity=_WAITING, sample_rate=RATE, num_channels=1, frame_size_ms=_PIECE_MS
        )
        try:
            async for heard in stream:
                take(np.frombuffer(heard.frame.data, dtype=np.int16))
        finally:
            await stream.aclose()


def _audio(room: rtc.Room) -> Iterator[tuple[rtc.RemoteTrackPublication, rtc.RemoteParticipant]]:
    for who in room.remote_participants.values():
        for publication in who.track_publications.values():
            if publication.kind == rtc.TrackKind.KIND_AUDIO:
                yield publication, who


def _subscribe(publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant) -> None:
    """Hear bots too; people are heard by the room's ears already."""
    if publication.kind == rtc.TrackKind.KIND_AUDIO and not is_person(who):
        publication.set_subscribed(True)
