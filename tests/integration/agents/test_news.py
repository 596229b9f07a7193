"""Everybody in a real LiveKit room is told what happens in its conversation, and nobody waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from livekit import api, rtc

from src.agents.news import TOPIC
from src.agents.providers.models import Models
from src.agents.settings import RoomsSettings
from src.agents.worker import Worker
from src.api.event_stream import frame
from src.demo.person import Person, joined
from src.state.models import Event
from src.swarm.rooms.protocols import AGENT, AGENT_PREFIX
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.commands import (
    Command,
    Create,
    NewParticipant,
    PatchConfig,
    PostMessage,
    Speaker,
)
from src.swarm.shapes.config import Config
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.unit.swarm.given import raw

AGAIN_HZ = 900.0
ROOM = "lesson"
GUEST = """
import asyncio, sys
from livekit import rtc
async def stay():
    room = rtc.Room()
    await room.connect(*sys.argv[1:])
    print("in", flush=True)
    await asyncio.Event().wait()
asyncio.run(stay())
"""
_keys = count(1)

pytestmark = needs_livekit


@pytest.fixture
async def member(
    livekit: LiveKitSettings, database_url: str, redis_url: str
) -> AsyncIterator[Member]:
    """A server that hosts rooms, with the conversation "c" of Scout and Tutor."""
    async with AsyncExitStack() as stack:
        [member] = await stack.enter_async_context(open_members(database_url, redis_url, 1))
        hearing = {"stt": {"phrases": {"900": "@all again please"}}}
        team = {"name": "Crew", "defaults": {"providers": {"options": hearing}}}
        configs = member.service.configs
        await configs.create("team", "crew", msgspec.json.encode(team), "ada")
        bots = tuple(NewParticipant(id, "bot", id.title()) for id in ("scout", "tutor"))
        for bot in bots:
            options = {"llm": {"default": f"I am {bot.name}."}, "tts": {"ms_per_char": 60}}
            config = {"name": bot.name, "providers": {"options": options}}
            await configs.create("bot", bot.id, msgspec.json.encode(config), "ada")
        new = Create("c", config=Config(team_id="crew"), participants=bots)
        await member.service.submit_here("c", new, key="create", actor="ada", create=True)
        settings = RoomsSettings(drain_timeout=timedelta(seconds=1))
        models = await stack.enter_async_context(Models().running())
        worker = Worker(member.runtime, settings, livekit, models)
        await stack.enter_async_context(worker.running())
        yield member


@pytest.fixture
async def zoe(livekit: LiveKitSettings, member: Member) -> AsyncIterator[Person]:
    """A person in the room, with the swarm dispatched to it."""
    async with (
        api.LiveKitAPI(*livekit.account) as lk,
        joined(*livekit.account, ROOM, "zoe") as zoe,
    ):
        metadata = json.dumps({"conversation_id": "c"})
        asked = api.CreateAgentDispatchRequest(agent_name=AGENT, room=ROOM, metadata=metadata)
        await lk.agent_dispatch.create_dispatch(asked)
        bots = {"bot-scout", "bot-tutor"}
        await eventually(
            lambda: bots <= set(zoe.room.remote_participants), within_s=20, what="bots in the room"
        )
        yield zoe
        with suppress(api.ServerError):
            await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))


class Told:
    """What one client of the room is told."""

    def __init__(self, room: rtc.Room) -> None:
        self.packets: list[bytes] = []
        self.senders: set[tuple[str, int]] = set()
        room.on("data_received", self._take)

    def _take(self, packet: rtc.DataPacket) -> None:
        if packet.topic == TOPIC:
            assert packet.participant is not None
            self.packets.append(packet.data)
            self.senders.add((packet.participant.identity, packet.participant.kind))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(packet) for packet in self.packets]

    def turns(self) -> list[str]:
        said = [event for event in self.events if event["type"] == "message_added"]
        return [event["data"]["message"]["author"]["id"] for event in said if event["data"]]

    async def up_to(self, seq: int) -> None:
        """Wait for this event."""
        await eventually(
            lambda: bool(self.events) and self.events[-1]["seq"] >= seq,
            within_s=20,
            what=f"event {seq}",
        )

    async def of_turns(self, *authors: str) -> None:
        """Wait until these are the last ones."""
        await eventually(
            lambda: self.turns()[-len(authors) :] == list(authors),
            within_s=20,
            what=f"turns of {authors}",
        )


def token(livekit: LiveKitSettings, identity: str, *, speaks: bool) -> str:
    _, key, secret = livekit.account
    grants = api.VideoGrants(
        room_join=True,
        room=ROOM,
        can_subscribe=True,
        can_publish=speaks,
        can_publish_data=speaks,
    )
    return api.AccessToken(key, secret).with_identity(identity).with_grants(grants).to_jwt()


@asynccontextmanager
async def listening(livekit: LiveKitSettings, identity: str) -> AsyncIterator[rtc.Room]:
    """Be in the room as those are who may only listen: viewers."""
    room = rtc.Room()
    await room.connect(livekit.account[0], token(livekit, identity, speaks=False))
    try:
        yield room
    finally:
        await room.disconnect()


@contextmanager
def elsewhere(livekit: LiveKitSettings, identity: str) -> Iterator[subprocess.Popen[str]]:
    """Be in the room from a process of its own."""
    given = (livekit.account[0], token(livekit, identity, speaks=True))
    with subprocess.Popen(
        [sys.executable, "-c", GUEST, *given], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "in\n"
            yield process
        finally:
            process.kill()


async def log_of(member: Member, after: int = 0) -> Sequence[Event]:
    return await member.service.events("c", after=after, limit=1000)


async def submit(member: Member, command: Command) -> int:
    """Have a command logged; return the number of its event."""
    key = f"key-{next(_keys)}"
    done = await member.service.submit_here("c", command, key=key, actor="ada")
    return done.version.seq


async def note(member: Member, text: str) -> int:
    """Have Scout say something without a sound."""
    return await submit(member, PostMessage(Speaker("bot", "scout"), text))


async def reached(member: Member, *clients: Told) -> None:
    """Wait until these are told something: who has just come in is not so at once."""

    async def all_are() -> bool:
        await note(member, "Is everybody here?")
        return all(told.packets for told in clients)

    await eventually(all_are, within_s=20, what="everybody within reach")


def is_dense(told: Told) -> bool:
    seqs = [event["seq"] for event in told.events]
    return all(after == before + 1 for before, after in pairwise(seqs))


async def test_everybody_is_told_each_turn_once_and_in_order_while_bots_speak(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    async with (
        joined(*livekit.account, ROOM, "max") as other,
        listening(livekit, "vic") as viewer,
    ):
        everybody = [Told(room) for room in (zoe.room, other.room, viewer)]
        await reached(member, *everybody)
        await zoe.say(AGAIN_HZ)
        for told in everybody:
            await told.of_turns("zoe", "scout", "tutor")
        spoken_s = zoe.seconds_of("bot-tutor")
    assert spoken_s > 0
    logged = {event.version.seq: event for event in await log_of(member)}
    for told in everybody:
        assert is_dense(told)
        turns = [event["seq"] for event in told.events if event["type"] == "message_added"]
        assert [told_turn(packet) for packet in told.packets if told_turn(packet)] == [
            without_metrics(logged[seq]) for seq in turns
        ]
        [(sender, kind)] = told.senders
        assert sender.startswith(AGENT_PREFIX)
        assert kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    await eventually(lambda: member.count("news_sent") >= len(everybody[0].packets))
    assert member.count("news_lost") == 0


def told_turn(packet: bytes) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.json.decode(packet)
    return event if event["type"] == "message_added" else {}


def without_metrics(event: Event) -> dict[str, Any]:
    """What the stream of the API sends, but for what only members may know."""
    sent: dict[str, Any] = msgspec.json.decode(frame(event).split(b"\ndata: ")[1])
    sent["data"]["message"].pop("metrics", None)
    return sent


async def test_what_is_large_or_only_for_members_is_announced_and_the_rest_goes_on(
    member: Member, zoe: Person
) -> None:
    told = Told(zoe.room)
    large = await note(member, "x" * 20_000)
    secret = await submit(member, PatchConfig(raw({"goal": "Find out what Zoe knows"})))
    small = await note(member, "A short one")
    await told.up_to(small)
    by_seq = {event["seq"]: event for event in told.events}
    assert [by_seq[seq]["type"] for seq in (large, secret, small)] == [
        "message_added",
        "config_changed",
        "message_added",
    ]
    assert by_seq[large]["data"] is None
    assert by_seq[secret]["data"] is None
    assert by_seq[small]["data"]["message"]["text"] == "A short one"
    assert b"Find out" not in b"".join(told.packets)


async def test_who_comes_late_is_told_only_what_happens_from_then_on(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    before = await note(member, "Before")
    await Told(zoe.room).up_to(before)
    async with listening(livekit, "vic") as viewer:
        told = Told(viewer)
        await reached(member, told)
    assert told.events[0]["seq"] > before
    assert is_dense(told)


async def test_nobody_waits_for_who_takes_nothing_or_is_gone(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    told = Told(zoe.room)
    with elsewhere(livekit, "slow") as slow, elsewhere(livekit, "gone") as gone:
        there = {"slow", "gone"}
        await eventually(lambda: there <= set(zoe.room.remote_participants), what="two more")
        os.kill(slow.pid, signal.SIGSTOP)
        gone.kill()
        last = 0
        for number in range(200):
            last = await note(member, f"{number} " + "x" * 10_000)
        await told.up_to(last)
        await zoe.say(AGAIN_HZ)
        await told.of_turns("zoe", "scout", "tutor")
    # A turn of a bot is logged when it was spoken to its end: no voice was held up.
    assert is_dense(told)
    assert member.count("news_lost") == 0
