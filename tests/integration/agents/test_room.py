"""A swarm in a real LiveKit room: people and bots are heard, and all of it is one history."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial

import msgspec
import pytest
from livekit import api, rtc

from src.agents.providers.models import Models
from src.agents.providers.plugins import Plugins
from src.agents.providers.realtime import RealtimeVoice
from src.agents.providers.tone import ToneVoice
from src.agents.settings import NamedProvider, RoomsSettings
from src.agents.worker import Worker
from src.demo.person import Person, joined
from src.swarm.providers.registry import Stage
from src.swarm.rooms.protocols import AGENT
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.shapes.commands import AddParticipant, Create, NewParticipant, RemoveParticipant
from src.swarm.shapes.config import Config
from src.swarm.shapes.models import Message
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.support.realtime_server import RealtimeServer, realtime_server, spoken, written

HELLO_HZ, AGAIN_HZ = 700.0, 900.0
PITCH = {"scout": 400.0, "tutor": 550.0}
ROOM = "lesson"

pytestmark = needs_livekit


def shown(member: Member, stage: str) -> list[tuple[str, int]]:
    """Return the models of a stage, as /status/models has them, each with its users."""
    models = member.runtime.status.models().models
    return [(one.name, one.users) for one in models if one.stage == stage]


def bot(id: str, says: str, hz: float = 0.0) -> bytes:
    options = {"llm": {"default": says}, "tts": {"hz": hz or PITCH[id], "ms_per_char": 60}}
    return msgspec.json.encode({"name": id.title(), "providers": {"options": options}})


@pytest.fixture
async def model() -> AsyncIterator[RealtimeServer]:
    """A realtime model, which configs call `near/live`."""
    async with realtime_server() as server:
        yield server


@pytest.fixture
async def member(
    livekit: LiveKitSettings, database_url: str, redis_url: str, model: RealtimeServer
) -> AsyncIterator[Member]:
    """A server that hosts rooms, with the conversation "c" of Scout and Tutor."""
    options = {"base_url": model.url, "api_key": "none"}
    plugins = Plugins({"near": NamedProvider(plugin="openai", options=options)})

    def find(stage: Stage, name: str) -> RealtimeVoice | None:
        return RealtimeVoice(name, plugins) if stage == "realtime" else None

    async with AsyncExitStack() as stack:
        [member] = await stack.enter_async_context(
            open_members(database_url, redis_url, 1, find_provider=find)
        )
        hearing = {"stt": {"phrases": {"700": "Hello there", "900": "@all again please"}}}
        team = {"name": "Crew", "defaults": {"providers": {"options": hearing}}}
        configs = member.service.configs
        await configs.create("team", "crew", msgspec.json.encode(team), "ada")
        await configs.create("bot", "scout", bot("scout", "I am Scout, your guide."), "ada")
        await configs.create("bot", "tutor", bot("tutor", "I am Tutor."), "ada")
        new = Create(
            "c",
            config=Config(team_id="crew"),
            participants=(
                NewParticipant("scout", "bot", "Scout", priority=2),
                NewParticipant("tutor", "bot", "Tutor", priority=1),
            ),
        )
        await member.service.submit_here("c", new, key="create", actor="ada", create=True)
        models = await stack.enter_async_context(Models(plugins, kept_s=0).running())
        models.show(member.runtime)
        worker = Worker(member.runtime, RoomsSettings(), livekit, models)
        await stack.enter_async_context(worker.running())
        yield member


@pytest.fixture
async def zoe(livekit: LiveKitSettings, member: Member) -> AsyncIterator[Person]:
    """A person in the room, with the swarm dispatched to it."""
    url, key, secret = livekit.account
    async with (
        api.LiveKitAPI(url, key, secret) as lk,
        joined(url, key, secret, ROOM, "zoe") as zoe,
    ):
        await lk.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(
                agent_name=AGENT, room=ROOM, metadata=json.dumps({"conversation_id": "c"})
            )
        )
        bots = {f"bot-{id}" for id in PITCH}
        await eventually(
            lambda: bots <= set(zoe.room.remote_participants), within_s=20, what="bots in the room"
        )
        yield zoe
        # A test may have ended it.
        with suppress(api.ServerError):
            await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))


async def turns(member: Member) -> list[Message]:
    return list((await member.read("c")).entry.state.messages)


async def test_person_is_heard_and_the_bot_is_heard_by_the_person(
    member: Member, zoe: Person
) -> None:
    await zoe.say(HELLO_HZ)

    async def answered() -> bool:
        return len(await turns(member)) == 2

    await eventually(answered, within_s=15, what="an answer")
    question, answer = await turns(member)
    assert (question.author.id, question.text) == ("zoe", "Hello there")
    assert (answer.author.id, answer.text) == ("scout", "I am Scout, your guide.")
    assert (answer.reply_to, answer.interrupted) == (question.id, False)
    heard = zoe.heard["bot-scout"]
    assert heard.pitch == pytest.approx(PITCH["scout"], abs=10)
    assert zoe.seconds_of("bot-scout") == pytest.approx(23 * 0.06, rel=0.25)


async def test_bots_speak_one_after_the_other_and_never_over_each_other(
    member: Member, zoe: Person
) -> None:
    await zoe.say(AGAIN_HZ)

    async def answered() -> bool:
        return len(await turns(member)) == 3

    await eventually(answered, within_s=20, what="two answers")
    assert [turn.author.id for turn in await turns(member)] == ["zoe", "scout", "tutor"]
    first, second = (zoe.heard[f"bot-{id}"] for id in PITCH)
    assert second.sounds[0][0] - first.sounds[-1][1] >= -0.02


async def test_person_who_speaks_silences_the_bot_and_what_was_heard_is_kept(
    member: Member, zoe: Person
) -> None:
    await member.service.configs.replace(
        "bot", "scout", bot("scout", "This is a long story. " * 20), "ada"
    )
    await zoe.say(HELLO_HZ)
    await eventually(lambda: zoe.seconds_of("bot-scout") > 1.0, what="a second of the story")
    began = time.monotonic()
    await zoe.say(HELLO_HZ)

    async def kept() -> bool:
        return any(turn.interrupted for turn in await turns(member))

    await eventually(kept, within_s=10, what="an interrupted turn")
    cut = next(turn for turn in await turns(member) if turn.interrupted)
    assert cut.spoken_until is not None
    assert 0 < cut.spoken_until < len(cut.text)
    [*_, (_, silent)] = [sound for sound in zoe.heard["bot-scout"].sounds if sound[0] < began]
    assert silent > began, "it was silent before anybody spoke"


async def test_realtime_model_is_heard_in_its_own_voice_and_its_words_are_a_turn(
    member: Member, zoe: Person, model: RealtimeServer
) -> None:
    config = msgspec.json.decode(bot("scout", "I am Scout."))
    config["providers"]["realtime"] = "near/live"
    await member.service.configs.replace("bot", "scout", msgspec.json.encode(config), "ada")
    # The second answer has no sound: it is spoken by the voice that the bot has besides.
    model.replies = [[spoken("I am live", 1.5, 15)], [written("These are only words")]]
    await zoe.say(HELLO_HZ)

    async def answered(count: int) -> bool:
        return len(await turns(member)) == 2 * count

    await eventually(lambda: answered(1), within_s=15, what="an answer")
    heard = zoe.heard["bot-scout"]
    assert heard.pitch == pytest.approx(440, abs=10)
    assert zoe.seconds_of("bot-scout") == pytest.approx(1.5, rel=0.25)
    heard.samples.clear()
    await zoe.say(HELLO_HZ)
    await eventually(lambda: answered(2), within_s=15, what="a second answer")
    assert heard.pitch == pytest.approx(PITCH["scout"], abs=10)
    _, first, _, second = await turns(member)
    assert (first.text, second.text) == ("I am live ", "These are only words ")
    assert not first.interrupted
    [connection] = model.connections
    assert connection.seen[1][:2] == [("user", "[Zoe] Hello there"), ("assistant", "I am live ")]


async def test_sound_that_was_replaced_is_closed_when_nobody_speaks_with_it(
    member: Member, zoe: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[float] = []

    async def close(sound: ToneVoice) -> None:
        closed.append(sound.hz)

    monkeypatch.setattr(ToneVoice, "aclose", close)
    await zoe.say(HELLO_HZ)
    await eventually(lambda: zoe.seconds_of("bot-scout") > 0.5, what="Scout in the old voice")
    configs = member.service.configs
    await configs.replace("bot", "scout", bot("scout", "Hear my new voice.", 480.0), "ada")
    assert closed == []

    async def answered(times: int) -> bool:
        return len(await turns(member)) == 2 * times

    await eventually(lambda: answered(1), what="the first answer")
    await zoe.say(HELLO_HZ)
    await eventually(lambda: answered(2), what="the second answer")
    await eventually(lambda: closed == [PITCH["scout"]], what="the old voice closed")


async def test_bots_with_the_same_voice_share_one_model_and_so_do_ears(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    for id in PITCH:
        config = bot(id, f"I am {id}.", 480.0)
        await member.service.configs.replace("bot", id, config, "ada")
    await zoe.say(AGAIN_HZ)

    async def answered() -> bool:
        return len(await turns(member)) == 3

    await eventually(answered, within_s=20, what="two answers")
    assert shown(member, "tts") == [("offline/tone", 2)]
    assert [zoe.heard[f"bot-{id}"].pitch for id in PITCH] == [pytest.approx(480, abs=10)] * 2
    assert shown(member, "stt") == [("offline/phrases", 1)]
    async with joined(*livekit.account, ROOM, "yan"):
        await eventually(
            lambda: shown(member, "stt") == [("offline/phrases", 2)], what="a second ear"
        )
    await eventually(lambda: shown(member, "stt") == [("offline/phrases", 1)], what="one ear less")
    async with api.LiveKitAPI(*livekit.account) as lk:
        await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))
    await eventually(lambda: not member.runtime.status.models().models, what="no models")


async def test_what_is_written_in_the_rooms_chat_is_a_turn(member: Member, zoe: Person) -> None:
    await zoe.room.local_participant.send_text("Tutor, good morning!", topic="lk.chat")

    async def answered() -> bool:
        return len(await turns(member)) == 2

    await eventually(answered, within_s=15, what="an answer")
    question, answer = await turns(member)
    assert (question.author.id, question.text) == ("zoe", "Tutor, good morning!")
    assert answer.author.id == "tutor"


async def test_each_bot_shows_its_own_state_as_front_ends_of_livekit_read_it(
    member: Member, zoe: Person
) -> None:
    shown: dict[str, list[str]] = {f"bot-{id}": [] for id in PITCH}

    def changed(attributes: dict[str, str], one: rtc.Participant) -> None:
        if one.identity in shown and "lk.agent.state" in attributes:
            shown[one.identity].append(attributes["lk.agent.state"])

    def listen() -> bool:
        found = zoe.room.remote_participants
        return {found[one].attributes.get("lk.agent.state") for one in shown} == {"listening"}

    await eventually(listen, what="bots that listen")
    zoe.room.on("participant_attributes_changed", changed)
    await zoe.say(HELLO_HZ)
    await eventually(
        lambda: shown["bot-scout"][-2:] == ["speaking", "listening"], within_s=15, what="an answer"
    )
    assert shown["bot-tutor"] == []


async def test_one_scribe_writes_what_each_person_and_each_bot_says(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    """Each session that heard Zoe would write her words down; several bots, several times."""
    written: dict[str, list[str]] = {}
    reading: set[asyncio.Task[None]] = set()

    async def read(reader: rtc.TextStreamReader, identity: str) -> None:
        text = await reader.read_all()
        # One that goes on piece by piece says at its end that it was final.
        final = (reader.info.attributes or {}).get("lk.transcription_final")
        if identity.startswith("bot-") or final == "true":
            written.setdefault(identity, []).append(text)

    def came(reader: rtc.TextStreamReader, identity: str) -> None:
        reading.add(asyncio.create_task(read(reader, identity)))

    async with joined(*livekit.account, ROOM, "max") as other:
        await eventually(lambda: "bot-tutor" in other.room.remote_participants)
        other.room.register_text_stream_handler("lk.transcription", came)
        await zoe.say(AGAIN_HZ)
        await eventually(lambda: "bot-tutor" in written, within_s=20, what="the last words")
        await other.say(HELLO_HZ)
        await eventually(lambda: len(written.get("bot-scout", ())) == 2, within_s=20)
        await asyncio.wait(reading, timeout=5)
    assert written == {
        "zoe": ["@all again please"],
        "max": ["Hello there"],
        "bot-scout": ["I am Scout, your guide."] * 2,
        "bot-tutor": ["I am Tutor."],
    }


async def test_member_that_is_added_and_removed_comes_and_goes(member: Member, zoe: Person) -> None:
    clerk = AddParticipant(NewParticipant("clerk", "bot", "Clerk"))
    await member.service.submit_here("c", clerk, key="add", actor="ada")
    await eventually(
        lambda: "bot-clerk" in zoe.room.remote_participants, within_s=10, what="the new bot"
    )
    await member.service.submit_here("c", RemoveParticipant("clerk"), key="remove", actor="ada")
    await eventually(
        lambda: "bot-clerk" not in zoe.room.remote_participants, within_s=10, what="a bot less"
    )


async def test_person_is_a_member_while_in_the_room(member: Member, zoe: Person) -> None:
    async def state_is(wanted: str) -> bool:
        one = (await member.read("c")).entry.state.participant("zoe")
        return one is not None and one.state == wanted

    await eventually(lambda: state_is("ready"), what="zoe as a member")
    await zoe.leave()
    await eventually(lambda: state_is("left"), what="zoe gone")


async def test_room_that_is_hosted_is_one_of_the_servers_places(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    def told() -> list[tuple[str, int, int]]:
        report = member.runtime.workers.report()
        return [(one.state, one.capacity, one.sessions) for one in report.workers]

    await eventually(lambda: told() == [("ready", 10, 1)], within_s=20, what="a place taken")
    async with api.LiveKitAPI(*livekit.account) as lk:
        await lk.room.delete_room(api.DeleteRoomRequest(room=ROOM))
    await eventually(lambda: told() == [("ready", 10, 0)], within_s=20, what="the place, free")


async def test_each_of_several_people_is_heard_as_itself_telephones_too(
    member: Member, zoe: Person, livekit: LiveKitSettings
) -> None:
    """Left alone, an ear takes the first it finds for the one that it is to hear."""

    async def heard(count: int) -> bool:
        return len([one for one in await turns(member) if one.author.kind == "person"]) == count

    async with joined(*livekit.account, ROOM, "sip_+15105550100", kind="sip") as caller:
        for count, person in enumerate((zoe, caller, zoe), 1):
            await eventually(lambda: "bot-tutor" in caller.room.remote_participants)
            await person.say(HELLO_HZ)
            await eventually(partial(heard, count), within_s=15, what=f"turn {count}")
    said = [one.author.id for one in await turns(member) if one.author.kind == "person"]
    assert said == ["zoe", "sip__15105550100", "zoe"]


async def test_bots_are_no_people_and_hold_no_room_open(
    member: Member, livekit: LiveKitSettings
) -> None:
    """The room was there before anybody came, and is over soon after the last person has left."""
    async with api.LiveKitAPI(*livekit.account) as lk:
        made = api.CreateRoomRequest(name=ROOM, empty_timeout=60, departure_timeout=1)
        await lk.room.create_room(made)
        metadata = json.dumps({"conversation_id": "c"})
        asked = api.CreateAgentDispatchRequest(agent_name=AGENT, room=ROOM, metadata=metadata)
        await lk.agent_dispatch.create_dispatch(asked)
        async with joined(*livekit.account, ROOM, "zoe") as zoe:
            bots = {f"bot-{id}" for id in PITCH}
            await eventually(
                lambda: bots <= set(zoe.room.remote_participants), within_s=20, what="bots"
            )
            kinds = {one.kind for one in zoe.room.remote_participants.values()}

        async def is_over() -> bool:
            return not (await lk.room.list_rooms(api.ListRoomsRequest(names=[ROOM]))).rooms

        await eventually(is_over, within_s=20, what="the end of a room without people")
    assert kinds == {rtc.ParticipantKind.PARTICIPANT_KIND_AGENT}
