"""The sound of a room whose library fails, or hears somebody anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc

from src.agents.recording.mix import Samples
from src.agents.recording.room_sound import RoomSound


class Publication:
    """Sound that a bot publishes."""

    sid, kind, track = "TR_1", rtc.TrackKind.KIND_AUDIO, None

    def __init__(self) -> None:
        self.fails = False
        self.is_subscribed = False

    def set_subscribed(self, wanted: bool) -> None:
        if self.fails and wanted:
            raise RuntimeError("the library fails")
        self.is_subscribed = wanted


class Scout:
    """A bot in a room."""

    identity, kind = "bot-scout", rtc.ParticipantKind.PARTICIPANT_KIND_AGENT

    def __init__(self, publication: Publication) -> None:
        self.track_publications = {publication.sid: publication}


class Stream:
    """Sound of a track that goes on, and takes its time to end."""

    def __init__(self, *_: object, **__: object) -> None:
        self.ended = asyncio.Event()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> rtc.AudioFrameEvent:
        await asyncio.Event().wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self.ended.wait()


class Heard:
    """Who was begun to be heard."""

    def __init__(self) -> None:
        self.who: list[str] = []

    def begin(self, who: str, _: int) -> Any:
        self.who.append(who)

        def take(_: Samples) -> None:
            raise AssertionError("nobody says anything")

        return take


def room_with(publication: Publication) -> tuple[rtc.Room, Any]:
    room, scout = rtc.Room(), Scout(publication)
    # A room that nobody is connected to takes whom it is given.
    room._remote_participants["bot-scout"] = scout  # type: ignore[assignment]  # stands for one
    return room, scout


def listeners(room: rtc.Room) -> int:
    return sum(len(handlers) for handlers in room._events.values())


async def test_what_fails_as_it_begins_leaves_no_listeners_behind() -> None:
    publication = Publication()
    publication.fails = True
    room, _ = room_with(publication)

    async def listen() -> None:
        async with RoomSound(room, Heard().begin).heard():
            raise AssertionError("it began")

    with pytest.raises(RuntimeError, match="the library fails"):
        await listen()
    assert listeners(room) == 0


async def test_bot_that_is_heard_already_is_asked_for_and_at_the_end_not_any_more() -> None:
    publication = Publication()
    room, _ = room_with(publication)
    async with RoomSound(room, Heard().begin).heard():
        assert publication.is_subscribed
        publication.is_subscribed = False
        room.emit("reconnected")
        assert publication.is_subscribed
    assert not publication.is_subscribed


async def test_sound_that_comes_back_before_its_stream_has_ended_is_heard_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams: list[Stream] = []

    def opened(*_: object, **__: object) -> Stream:
        streams.append(Stream())
        return streams[-1]

    monkeypatch.setattr(rtc, "AudioStream", opened)
    publication, heard = Publication(), Heard()
    room, scout = room_with(publication)
    track = type("Track", (), {"kind": rtc.TrackKind.KIND_AUDIO})
    async with RoomSound(room, heard.begin).heard():
        for event in ("track_subscribed", "track_unsubscribed", "track_subscribed"):
            room.emit(event, track, publication, scout)
            await asyncio.sleep(0)
        for stream in streams:
            stream.ended.set()
    assert heard.who == ["scout", "scout"]
