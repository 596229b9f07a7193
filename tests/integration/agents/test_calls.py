"""Calls without LiveKit: one person's sound over a wire, on the floor and the voices of rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import numpy as np
import pytest

from src.agents.calls import CallHosting
from src.agents.providers.models import Models
from src.agents.providers.tone import tone
from src.agents.settings import RoomsSettings
from src.state.buffers import Buffer
from src.state.errors import Overloaded, Refused
from src.swarm.rooms.calls import Caller
from src.swarm.shapes.commands import Create, NewParticipant
from src.swarm.shapes.config import Config
from src.swarm.shapes.models import Message
from tests.support.calls import Earpiece, hosting, pitch, say
from tests.support.cluster_runtimes import Member, open_members
from tests.support.cluster_settings import eventually

HELLO_HZ, LATER_HZ = 700.0, 900.0
SCOUT_HZ = 400.0
STORY = "I am Scout, your guide, and I have a long story to tell you today. " * 3
ZOE = Caller("zoe", "Zoe", "zoe")


class Served:
    """A server that takes calls; the conversation is "c", of Scout."""

    def __init__(self, member: Member, calls: CallHosting) -> None:
        self.member, self.calls = member, calls

    async def call(self, wire: Earpiece) -> asyncio.Task[None]:
        """Begin a call."""
        task = asyncio.create_task(self.calls.host("c", ZOE, wire, wire.begun))
        await eventually(lambda: wire.line is not None or task.done(), what="a line")
        return task

    async def turns(self) -> list[Message]:
        return list((await self.member.read("c")).entry.state.messages)

    async def count(self, wanted: int) -> list[Message]:
        async def there() -> bool:
            return len(await self.turns()) >= wanted

        await eventually(there, within_s=20, what=f"{wanted} turns")
        return await self.turns()


async def configured(member: Member, says: str, stt: str = "offline/phrases") -> None:
    options = {"llm": {"default": says}, "tts": {"hz": SCOUT_HZ, "ms_per_char": 30}}
    bot = {"name": "Scout", "providers": {"options": options}}
    phrases = {"stt": {"phrases": {"700": "Hello there", "900": "And again"}}}
    providers = {"stt": stt, "tts": "offline/tone", "options": phrases}
    team = {"name": "Crew", "defaults": {"providers": providers}}
    configs = member.service.configs
    await configs.create("team", "crew", msgspec.json.encode(team), "ada")
    await configs.create("bot", "scout", msgspec.json.encode(bot), "ada")
    scout = NewParticipant("scout", "bot", "Scout")
    new = Create("c", config=Config(team_id="crew"), participants=(scout,))
    await member.service.submit_here("c", new, key="create", actor="ada", create=True)


@pytest.fixture
async def served(database_url: str, redis_url: str) -> AsyncIterator[Served]:
    async with (
        open_members(database_url, redis_url, 1) as [member],
        hosting(member.runtime) as calls,
    ):
        yield Served(member, calls)


async def test_a_person_is_heard_and_hears_the_bot_at_the_pace_of_speech(served: Served) -> None:
    await configured(served.member, "Hello to you.")
    wire = Earpiece()
    call = await served.call(wire)
    assert wire.line is not None
    await say(wire.line.hear, HELLO_HZ)
    question, answer = await served.count(2)
    wire.line.hang_up()
    await call

    assert (question.author.id, question.text) == ("zoe", "Hello there")
    assert (answer.author.id, answer.text, answer.interrupted) == ("scout", "Hello to you.", False)
    assert answer.spoken_until is None
    assert pitch(bytes(wire.heard)) == pytest.approx(SCOUT_HZ, abs=10)
    assert wire.heard_s == pytest.approx(len("Hello to you.") * 0.03, abs=0.05)


async def test_a_call_that_echoes_is_asked_whether_all_was_played(served: Served) -> None:
    await configured(served.member, "Hello to you.")
    wire = Earpiece(8_000, echoes=True)
    call = await served.call(wire)
    line = wire.line
    assert line is not None
    # The same sound at another rate: what is heard is resampled for the ear.
    await say(lambda pcm: line.hear(_third(pcm)), HELLO_HZ)
    question, _ = await served.count(2)
    line.hang_up()
    await call

    assert question.text == "Hello there"
    assert len(wire.marks) == 1
    assert pitch(bytes(wire.heard), 8_000) == pytest.approx(SCOUT_HZ, abs=10)


async def test_who_begins_to_speak_silences_the_bot_and_what_was_heard_is_kept(
    served: Served,
) -> None:
    await configured(served.member, STORY)
    wire = Earpiece()
    call = await served.call(wire)
    assert wire.line is not None
    await say(wire.line.hear, HELLO_HZ)
    await eventually(lambda: wire.heard_s > 0.5, within_s=20, what="the story, begun")
    await say(wire.line.hear, LATER_HZ)
    turns = await served.count(3)
    wire.line.hang_up()
    await call

    cut = turns[1]
    assert wire.cleared >= 1
    assert (cut.author.id, cut.text, cut.interrupted) == ("scout", STORY, True)
    assert cut.spoken_until is not None
    assert 0 < cut.spoken_until < len(STORY)
    assert turns[2].text == "And again"


async def test_who_hangs_up_in_the_middle_of_a_word_is_still_understood(served: Served) -> None:
    await configured(served.member, "Hello to you.")
    wire = Earpiece()
    call = await served.call(wire)
    assert wire.line is not None
    wire.line.hear(tone(HELLO_HZ, 0.6))
    wire.line.hang_up()
    await call

    [said, *_] = await served.turns()
    assert (said.author.id, said.text) == ("zoe", "Hello there")


@pytest.mark.parametrize(
    ("given", "field"),
    [({}, "providers.stt"), ({"stt": "offline/phrases"}, "providers.tts")],
)
async def test_without_providers_a_call_is_refused_and_says_what_to_set(
    served: Served, given: dict[str, str], field: str
) -> None:
    await configured(served.member, "Hello.")
    team = {"name": "Crew", "defaults": {"providers": given}}
    configs = served.member.service.configs
    await configs.replace("team", "crew", msgspec.json.encode(team), "ada")
    with pytest.raises(Refused, match=field) as refused:
        await served.calls.host("c", ZOE, Earpiece(), lambda _: None)

    assert (refused.value.code, refused.value.field) == ("no_voice", field)


async def test_a_provider_that_is_not_installed_is_named(served: Served) -> None:
    await configured(served.member, "Hello.", stt="nobody/has-it")
    with pytest.raises(Refused, match="livekit-plugins-nobody"):
        await served.calls.host("c", ZOE, Earpiece(), lambda _: None)


async def test_a_server_takes_as_many_calls_as_it_is_set_to(served: Served) -> None:
    await configured(served.member, "Hello.")
    wire = Earpiece()
    async with Models().running() as models, AsyncExitStack() as stack:
        full = CallHosting(served.member.runtime, RoomsSettings(calls=1), models)
        await stack.enter_async_context(full.running())
        call = asyncio.create_task(full.host("c", ZOE, wire, wire.begun))
        await eventually(lambda: wire.line is not None, what="a line")
        with pytest.raises(Overloaded, match="SWARMSTATE_ROOMS_CALLS"):
            await full.host("c", ZOE, Earpiece(), lambda _: None)
        assert wire.line is not None
        wire.line.hang_up()
        await call

    assert full.buffers()["calls"] == Buffer(0, 1, 1)


async def test_a_conversation_has_one_call_at_a_time(served: Served) -> None:
    await configured(served.member, "Hello.")
    first, second = Earpiece(), Earpiece()
    call = await served.call(first)
    assert first.line is not None
    # Who is heard has the conversation; a line alone is there a moment earlier.
    await say(first.line.hear, HELLO_HZ)
    await served.count(1)
    with pytest.raises(Refused) as refused:
        async with asyncio.timeout(20):
            await served.calls.host("c", ZOE, second, second.begun)
    first.line.hang_up()
    await call

    assert refused.value.code == "staged"


async def test_a_server_that_stops_hangs_up_and_keeps_the_last_words(served: Served) -> None:
    await configured(served.member, "Hello to you.")
    wire = Earpiece()
    call = await served.call(wire)
    assert wire.line is not None
    wire.line.hear(tone(HELLO_HZ, 0.6))
    await served.calls.stop()
    await call
    with pytest.raises(Overloaded, match="going away"):
        await served.calls.host("c", ZOE, Earpiece(), lambda _: None)

    assert [turn.text for turn in (await served.turns())[:1]] == ["Hello there"]


def _third(pcm: bytes) -> bytes:
    """Every third sample: 8 000 of 24 000, of a tone that is far below half of that."""
    return np.frombuffer(pcm, dtype=np.int16)[::3].tobytes()


async def test_a_call_that_is_over_is_a_session_of_its_conversation(served: Served) -> None:
    await configured(served.member, "Hello to you.")
    wire = Earpiece()
    call = await served.call(wire)
    assert wire.line is not None
    await say(wire.line.hear, HELLO_HZ)
    await served.count(2)
    wire.line.hang_up()
    await call

    async def is_kept() -> bool:
        return bool((await served.member.service.sessions("c", before=None, limit=5)).sessions)

    await eventually(is_kept, within_s=20, what="the session")
    [session] = (await served.member.service.sessions("c", before=None, limit=5)).sessions
    assert session.room_id.startswith("call-")
    assert [(one.id, one.turns) for one in session.speakers] == [("zoe", 1), ("scout", 1)]
    assert (session.turns, session.by) == (2, "extract")
