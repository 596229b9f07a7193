"""The recorder in a real LiveKit room: a person, a bot, and what both see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest
from livekit import api, rtc

from src.agents.connections import Connections
from src.agents.livekit_room import LiveKitRoom
from src.agents.port import Conversation
from src.agents.providers.tone import SAMPLE_RATE, tone
from src.agents.recording.recorder import Recorder
from src.agents.recording.shelf import Finished
from src.demo.person import Person, joined
from src.swarm.rooms.protocols import RECORDING
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.models import ConversationState
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.support.sounding import Sound, decoded
from tests.unit.swarm.given import Story

ROOM, AGENT = "tones", "swarm-srv-1"
ZOE_HZ, SCOUT_HZ = 700.0, 400.0
PEOPLE, BOTS = 0, 1

pytestmark = needs_livekit


class Wished:
    """What the recorder asks of a conversation."""

    def __init__(self) -> None:
        self.is_wanted = False

    async def recording(self) -> bool:
        return self.is_wanted

    async def state(self) -> ConversationState:
        return Story().state


class Kept:
    """`Keeping` with room for all."""

    def __init__(self) -> None:
        self.finished: list[Finished] = []
        self.sounds: list[Sound] = []

    async def left(self) -> int:
        return 1 << 30

    def put(self, finished: Finished) -> None:
        with finished.file as file:
            file.seek(0)
            self.sounds.append(decoded(file.read()))
        self.finished.append(finished)

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        raise AssertionError(f"{seconds} s of {room_id} are lost: {why}")


async def voice_of(room: rtc.Room) -> rtc.AudioSource:
    """Give a bot a voice."""
    source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=2_000)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await room.local_participant.publish_track(track)
    return source


async def speak(voice: rtc.AudioSource, hz: float, seconds: float) -> None:
    sound = tone(hz, seconds)
    await voice.capture_frame(rtc.AudioFrame(sound, SAMPLE_RATE, 1, len(sound) // 2))
    await voice.wait_for_playout()


@asynccontextmanager
async def entered(connect: Connections, identity: str) -> AsyncIterator[rtc.Room]:
    room = await connect(identity, identity)
    try:
        yield room
    finally:
        await room.disconnect()


def shown(person: Person) -> str:
    agent = person.room.remote_participants.get(AGENT)
    return "" if agent is None else agent.attributes.get(RECORDING, "")


def hears(room: rtc.Room, identity: str) -> bool:
    who = room.remote_participants.get(identity)
    tracks = () if who is None else who.track_publications.values()
    return any(one.track is not None for one in tracks)


@pytest.mark.parametrize("end", ["it is stopped", "its host leaves"])
async def test_what_a_person_and_a_bot_say_is_on_tape_until(
    livekit: LiveKitSettings, end: str
) -> None:
    connect, wished, kept = Connections(*livekit.account, ROOM), Wished(), Kept()
    async with (
        joined(*livekit.account, ROOM, "zoe") as zoe,
        entered(connect, "bot-scout") as scout,
        entered(connect, AGENT) as room,
    ):
        LiveKitRoom(room, connect).watch(lambda: None)
        voice = await voice_of(scout)
        await eventually(lambda: hears(room, "zoe"), within_s=15, what="the agent hears Zoe")
        await eventually(lambda: "bot-scout" in zoe.heard, within_s=15, what="Zoe hears Scout")
        recorder = Recorder(room, "RM_1", cast("Conversation", wished), kept, timedelta(hours=1))
        async with recorder.running():
            assert shown(zoe) == ""
            wished.is_wanted = True
            await eventually(lambda: shown(zoe) == "true", within_s=15, what="all see it")
            began = await zoe.say(ZOE_HZ, 0.5)
            await eventually(lambda: hears(room, "bot-scout"), within_s=15, what="the recorder")
            await speak(voice, SCOUT_HZ, 1.0)
            await eventually(lambda: zoe.seconds_of("bot-scout") > 0.8, within_s=15, what="Scout")
            if end == "it is stopped":
                wished.is_wanted = False
                await eventually(lambda: shown(zoe) == "", within_s=15, what="all see that")
                await zoe.say(ZOE_HZ, 0.5)
        assert not hears(room, "bot-scout")
        answered_after_s = zoe.heard["bot-scout"].first_after(began) - began

    [finished], [sound] = kept.finished, kept.sounds
    hello, answer = next(sound.stretches(PEOPLE)), next(sound.stretches(BOTS))
    assert [hello.hz, answer.hz] == pytest.approx([ZOE_HZ, SCOUT_HZ], abs=15)
    said_s = [sound.seconds_of(PEOPLE, ZOE_HZ), sound.seconds_of(BOTS, SCOUT_HZ)]
    # What is on the way when the recording ends is cut.
    assert said_s == pytest.approx([0.5, 1.0], abs=0.3)
    assert answer.begins_s - hello.begins_s == pytest.approx(answered_after_s, abs=0.4)
    about = finished.recording
    assert (about.room_id, about.life, about.speakers) == (ROOM, "RM_1", ("zoe", "scout"))
    assert about.duration_s == pytest.approx(sound.seconds, abs=0.1)


@asynccontextmanager
async def recorded(livekit: LiveKitSettings, kept: Kept) -> AsyncIterator[tuple[Person, rtc.Room]]:
    """Have a room recorded in which Zoe is, who sees it."""
    connect, wished = Connections(*livekit.account, ROOM), Wished()
    wished.is_wanted = True
    async with joined(*livekit.account, ROOM, "zoe") as zoe, entered(connect, AGENT) as room:
        LiveKitRoom(room, connect).watch(lambda: None)
        await eventually(lambda: hears(room, "zoe"), within_s=15, what="the agent hears Zoe")
        recorder = Recorder(room, "RM_1", cast("Conversation", wished), kept, timedelta(hours=1))
        async with recorder.running():
            await eventually(lambda: shown(zoe) == "true", within_s=15, what="all see it")
            yield zoe, room


async def test_recording_whose_mark_is_taken_away_ends_and_another_begins_with_it(
    livekit: LiveKitSettings,
) -> None:
    kept = Kept()
    async with recorded(livekit, kept) as (zoe, _), api.LiveKitAPI(*livekit.account) as lk:
        await zoe.say(ZOE_HZ, 0.4)
        gone = api.UpdateParticipantRequest(room=ROOM, identity=AGENT, attributes={RECORDING: ""})
        await lk.room.update_participant(gone)
        await eventually(lambda: len(kept.finished) == 1, within_s=15, what="the first")
        await eventually(lambda: shown(zoe) == "true", within_s=15, what="all see the next")
        await zoe.say(ZOE_HZ, 0.4)

    said_s = [sound.seconds_of(PEOPLE, ZOE_HZ) for sound in kept.sounds]
    # What is on the way when the mark goes is in neither.
    assert said_s == pytest.approx([0.4, 0.4], abs=0.3)


async def test_recording_goes_on_and_is_shown_when_its_host_has_connected_anew(
    livekit: LiveKitSettings,
) -> None:
    kept, is_back = Kept(), asyncio.Event()
    async with recorded(livekit, kept) as (zoe, room):
        room.on("reconnected", is_back.set)
        await zoe.say(ZOE_HZ, 0.4)
        await room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        async with asyncio.timeout(15):
            await is_back.wait()
        await eventually(lambda: hears(room, "zoe"), within_s=15, what="Zoe is heard again")
        await eventually(lambda: shown(zoe) == "true", within_s=15, what="all see it")
        await zoe.say(ZOE_HZ, 0.4)

    said_s = sum(sound.seconds_of(PEOPLE, ZOE_HZ) for sound in kept.sounds)
    assert said_s == pytest.approx(0.8, abs=0.3)
