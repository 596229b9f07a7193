"""A real room is recorded: what was heard in it is a file, each sound at its time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from livekit import api

from src.agents.providers.models import Models
from src.agents.settings import RoomsSettings
from src.agents.worker import Worker
from src.api.livekit.client import open_livekit
from src.demo.person import Person, joined
from src.state.records.files import File, Recording
from src.swarm.rooms.protocols import AGENT, AGENT_PREFIX, RECORDING
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.commands import Create, Delete, NewParticipant, PatchConfig
from src.swarm.shapes.config import Config
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.support.sounding import decoded
from tests.unit.swarm.given import raw

HELLO_HZ, SCOUT_HZ = 700.0, 400.0
MS_PER_CHAR, REPLY = 60, "I am Scout."
HELLO_S, REPLY_S = 0.4, MS_PER_CHAR * len(REPLY) / 1000
ROOM = "lesson"
PEOPLE, BOTS = 0, 1
_keys = count(1)

pytestmark = needs_livekit


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
async def member(database_url: str, redis_url: str, blobs: Path) -> AsyncIterator[Member]:
    """A server with the conversation "c" of Scout, who answers whoever says hello."""
    where: dict[str, Any] = {"blobs_url": blobs.as_uri()}
    async with open_members(database_url, redis_url, 1, **where) as [member]:
        hearing: dict[str, Any] = {"stt": {"phrases": {"700": "Hello there"}}}
        team = {"name": "Crew", "defaults": {"providers": {"options": hearing}}}
        options = {
            "llm": {"default": REPLY},
            "tts": {"hz": SCOUT_HZ, "ms_per_char": MS_PER_CHAR},
        }
        scout = {"name": "Scout", "providers": {"options": options}}
        configs = member.service.configs
        await configs.create("team", "crew", msgspec.json.encode(team), "ada")
        await configs.create("bot", "scout", msgspec.json.encode(scout), "ada")
        bots = (NewParticipant("scout", "bot", "Scout"),)
        new = Create("c", config=Config(team_id="crew"), participants=bots)
        await member.service.submit_here("c", new, key="create", actor="ada", create=True)
        yield member


@asynccontextmanager
async def hosting(
    member: Member, livekit: LiveKitSettings, **changes: object
) -> AsyncIterator[Person]:
    """Have the room hosted, with Zoe in it; the server leaves it at the end."""
    settings = RoomsSettings.model_validate({"drain_timeout": timedelta(seconds=1), **changes})
    async with AsyncExitStack() as stack:
        models = await stack.enter_async_context(Models().running())
        worker = Worker(member.runtime, settings, livekit, models)
        lk = await stack.enter_async_context(api.LiveKitAPI(*livekit.account))
        await stack.enter_async_context(worker.running())
        zoe = await stack.enter_async_context(joined(*livekit.account, ROOM, "zoe"))
        metadata = json.dumps({"conversation_id": "c"})
        asked = api.CreateAgentDispatchRequest(agent_name=AGENT, room=ROOM, metadata=metadata)
        await lk.agent_dispatch.create_dispatch(asked)
        await eventually(
            lambda: "bot-scout" in zoe.room.remote_participants, within_s=20, what="the bot"
        )
        yield zoe


async def wish(member: Member, recording: bool) -> None:
    patch = PatchConfig(raw({"policy": {"recording": recording}}))
    await member.service.submit_here("c", patch, key=f"wish-{next(_keys)}", actor="ada")


def shown(person: Person) -> str:
    """What the swarm's agent shows to people."""
    found = person.room.remote_participants.values()
    agents = [one for one in found if one.identity.startswith(AGENT_PREFIX)]
    return "".join(one.attributes.get(RECORDING, "") for one in agents)


async def files(member: Member) -> Sequence[File]:
    """The conversation's files, oldest first."""
    assert member.runtime.files is not None
    found, _ = await member.runtime.files.list("c", None, 50)
    return found[::-1]


async def is_kept(member: Member) -> bool:
    return bool(await files(member))


async def content(member: Member, file: File) -> bytes:
    assert member.runtime.files is not None
    return b"".join([part async for part in member.runtime.files.read(file, 0, file.bytes)])


async def answered(member: Member, times: int) -> None:
    async def are_there() -> bool:
        return len((await member.read("c")).entry.state.messages) == 2 * times

    await eventually(are_there, within_s=20, what=f"answer {times}")


async def test_what_people_and_bots_say_is_a_file_each_at_its_time_until_it_is_stopped(
    member: Member, livekit: LiveKitSettings, blobs: Path
) -> None:
    async with hosting(member, livekit) as zoe, joined(*livekit.account, ROOM, "max") as other:
        await eventually(lambda: "zoe" in other.heard, within_s=15, what="Max hears Zoe")
        await zoe.say(HELLO_HZ)
        await answered(member, 1)
        assert shown(zoe) == ""

        await wish(member, True)
        await eventually(lambda: shown(zoe) == "true", within_s=15, what="everybody sees it")
        async with open_livekit(livekit) as media:
            assert await media.recorded(ROOM)
        began = await zoe.say(HELLO_HZ)
        await answered(member, 2)
        heard_after_s = zoe.heard["bot-scout"].first_after(began) - began
        await wish(member, False)
        await eventually(lambda: shown(zoe) == "", within_s=15, what="it is over")
        await zoe.say(HELLO_HZ)
        await answered(member, 3)
        await eventually(partial(is_kept, member), within_s=15, what="the file")
        [file] = await files(member)

    data = await content(member, file)
    sound = decoded(data)
    hello = list(sound.stretches(PEOPLE))
    # What is left of the answer before is there too, where the voice was held up.
    answer = [one for one in sound.stretches(BOTS) if one.begins_s > hello[0].begins_s]
    assert [hello[0].hz, answer[0].hz] == pytest.approx([HELLO_HZ, SCOUT_HZ], abs=15)
    assert sound.seconds_of(PEOPLE, HELLO_HZ) == pytest.approx(HELLO_S, abs=0.25)
    assert answer[0].begins_s - hello[0].begins_s == pytest.approx(heard_after_s, abs=0.4)

    about = file.recording
    assert isinstance(about, Recording)
    assert (about.room_id, about.life[:3]) == (ROOM, "RM_")
    assert set(about.speakers) == {"zoe", "scout"}
    assert about.duration_s == pytest.approx(sound.seconds, abs=0.1)
    assert (file.type, file.created_by, file.sha256) == (
        "audio/ogg",
        "ada",
        sha256(data).hexdigest(),
    )

    await member.service.submit_here("c", Delete(), key="delete", actor="ada")
    await eventually(
        lambda: not [path for path in blobs.rglob("*") if path.is_file()],
        what="the recording gone with its conversation",
    )


@pytest.mark.parametrize("end", ["the room", "the server"])
async def test_a_long_recording_is_several_files_and_what_was_heard_last_is_kept(
    member: Member, livekit: LiveKitSettings, end: str
) -> None:
    await wish(member, True)
    async with hosting(member, livekit, recording_length=timedelta(seconds=1)) as zoe:
        await eventually(lambda: shown(zoe) == "true", within_s=15, what="everybody sees it")
        async with joined(*livekit.account, ROOM, "max") as other:
            await eventually(lambda: "zoe" in other.heard, within_s=15, what="Max hears Zoe")
            for times in (1, 2, 3):
                await zoe.say(HELLO_HZ)
                await answered(member, times)
                await eventually(partial(is_kept, member), within_s=15, what="the first file")
        if end == "the room":
            async with api.LiveKitAPI(*livekit.account) as lk:
                await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))
            await eventually(
                lambda: not member.runtime.workers.report().total_sessions, within_s=20
            )
    if end == "the server":
        async with api.LiveKitAPI(*livekit.account) as lk:
            with suppress(api.ServerError):
                await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))

    kept = await files(member)
    assert len(kept) > 1
    sounds = [decoded(await content(member, file)) for file in kept]
    said_s = sum(sound.seconds_of(PEOPLE, HELLO_HZ) for sound in sounds)
    replied_s = sum(sound.seconds_of(BOTS, SCOUT_HZ) for sound in sounds)
    assert [said_s, replied_s] == pytest.approx([3 * HELLO_S, 3 * REPLY_S], abs=0.3)
    for before, after in pairwise(kept):
        assert before.recording is not None
        assert after.recording is not None
        ended = before.recording.began_at + timedelta(seconds=before.recording.duration_s)
        assert abs((after.recording.began_at - ended).total_seconds()) < 0.1
