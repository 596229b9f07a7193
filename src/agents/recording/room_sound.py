"""The sound of a room on LiveKit: everybody's as the others hear it, bots' too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np
import structlog
from livekit import rtc

from src.agents.people import is_person, member_of
from src.agents.recording.mix import RATE, Samples
from src.state.background import end
from src.swarm.rooms.protocols import BOT_PREFIX

log = structlog.get_logger(__name__)

PEOPLE, BOTS = 0, 1
"""Their channels."""
_PIECE_MS = 50
_WAITING = 600
"""Pieces of one source that wait for a loop that is busy: half a minute; beyond it the oldest go.
While it is blocked altogether they wait in LiveKit's library, which has no bound."""

Begin = Callable[[str, int], Callable[[Samples], None]]
"""(who is heard, as a member, and its channel) -> who takes each piece as it is heard"""


class RoomSound:
    """Listens to a room, in whose loop it lives."""

    def __init__(self, room: rtc.Room, begin: Begin) -> None:
        self._room, self._begin = room, begin
        self._heard: dict[str, asyncio.Task[None]] = {}
        """By publication, of those that are heard now."""
        self._listening: set[asyncio.Task[None]] = set()
        """These, and those that are about to end."""

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Listen to everybody for the length of the block, to who comes meanwhile too."""
        events: dict[rtc.room.EventTypes, Callable[..., None]] = {
            "track_published": _subscribe,
            # What is asked for while LiveKit is connected to anew is lost.
            "reconnected": self._attend,
            "track_subscribed": self._listen,
            "track_unsubscribed": self._forget,
        }
        try:
            for event, take in events.items():
                self._room.on(event, take)
            self._attend()
            yield
        finally:
            for event, take in events.items():
                self._room.off(event, take)
            await end(self._listening)
            for publication, who in _audio(self._room):
                if not is_person(who):
                    publication.set_subscribed(False)

    def _attend(self) -> None:
        for publication, who in _audio(self._room):
            # Its track may be the one of an earlier stretch that LiveKit is about to end.
            _subscribe(publication, who)
            if publication.track is not None:
                self._listen(publication.track, publication, who)

    def _listen(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        who: rtc.RemoteParticipant,
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO and publication.sid not in self._heard:
            task = asyncio.create_task(self._take(track, who))
            self._heard[publication.sid] = task
            self._listening.add(task)
            task.add_done_callback(self._ended)

    def _forget(
        self, _: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
    ) -> None:
        # At once: the same publication may be heard anew before its stream has ended.
        task = self._heard.pop(publication.sid, None)
        if task is not None:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._listening.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("recording.unheard", room=self._room.name, error=repr(error))

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
