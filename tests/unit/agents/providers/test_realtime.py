"""A realtime model in a team: given everybody's turns as text, it answers in its own voice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from msgspec import Raw
from msgspec.structs import replace

from src.agents.providers.plugins import Plugins
from src.agents.providers.realtime import RealtimeVoice
from src.agents.settings import NamedProvider
from src.swarm.configs.bots import ProviderNames
from src.swarm.providers import Outcome, ReplyPart, ReplyRequest, Sound, Text, ToolCall
from src.swarm.rules.tools import BUILT_IN
from tests.support.asking import HELLO, message, request
from tests.support.realtime_server import RealtimeServer, realtime_server, spoken, use, written


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with realtime_server() as server:
        yield server


@pytest.fixture
async def voice(server: RealtimeServer) -> AsyncIterator[RealtimeVoice]:
    options = {"base_url": server.url, "api_key": "none"}
    given = {"near": NamedProvider(plugin="openai", options=options)}
    voice = RealtimeVoice("near/live", Plugins(given))
    yield voice
    await voice.aclose()


async def parts(voice: RealtimeVoice, asked: ReplyRequest) -> list[ReplyPart]:
    return [part async for part in voice.generate(asked)]


def text_of(said: list[ReplyPart]) -> str:
    return "".join(part.text for part in said if isinstance(part, Text))


async def test_answer_comes_with_its_sound(server: RealtimeServer, voice: RealtimeVoice) -> None:
    server.replies = [[spoken("Good day to you")]]
    said = await parts(voice, request(HELLO))
    assert isinstance(said[0], Sound)
    assert text_of(said) == "Good day to you "
    sounds = [part for part in said if isinstance(part, Sound)]
    assert {sound.sample_rate for sound in sounds} == {24_000}
    assert sum(len(sound.pcm) for sound in sounds) == 2 * int(0.2 * 24_000)


async def test_model_reads_every_turn_as_text_and_takes_no_turn_by_itself(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[spoken("Yes")]]
    turns = (
        HELLO,
        message("2", "scout", "bot", "Welcome."),
        message("3", "tutor", "bot", "I was cut off", interrupted=True, spoken_until=5),
        message("4" * 40, "zoe", "person", "Scout?"),
    )
    await parts(voice, request(*turns))
    [connection] = server.connections
    assert connection.query["model"] == "live"
    assert connection.seen == [
        [
            ("user", "[Zoe] Hello"),
            ("assistant", "Welcome."),
            ("user", "[Tutor] I was"),
            ("user", "[Zoe] Scout?"),
        ]
    ]
    session = connection.session
    assert "You are Scout" in session["instructions"]
    assert session["audio"]["input"]["turn_detection"] is None
    assert {tool["name"] for tool in session["tools"]} == {tool.name for tool in BUILT_IN}


async def test_connection_is_kept_and_its_history_is_the_conversations(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[spoken("First answer")], [spoken("Second")]]
    await parts(voice, request(HELLO))
    heard = message("2", "scout", "bot", "First answer", interrupted=True, spoken_until=5)
    asked = message("3", "zoe", "person", "And?")
    await parts(voice, request(HELLO, heard, asked))
    [connection] = server.connections
    # Of the first answer only what was heard is left.
    assert connection.seen[1] == [
        ("user", "[Zoe] Hello"),
        ("assistant", "First"),
        ("user", "[Zoe] And?"),
    ]


async def test_answer_without_sound_is_text_alone(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[written("Only words")]]
    said = await parts(voice, request(HELLO))
    assert {type(part) for part in said} == {Text}
    assert text_of(said) == "Only words "


async def test_model_is_told_what_came_of_its_call_and_asked_again(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[use("blackboard_set", id="rain", value=True)], [spoken("Noted")]]
    said = await parts(voice, replace(request(HELLO), outcome=lambda: Outcome("done")))
    called = said[0]
    assert isinstance(called, ToolCall)
    assert called.name == "blackboard_set"
    assert text_of(said) == "Noted "
    [connection] = server.connections
    assert connection.seen[1][-1] == ("function_call_output", "done")


async def test_changed_instructions_reach_a_connection_that_stands(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[spoken("One")], [spoken("Two")]]
    asked = request(HELLO)
    await parts(voice, asked)
    await parts(voice, replace(asked, bot=replace(asked.bot, instructions="Sing.")))
    [connection] = server.connections
    assert "Sing." in connection.session["instructions"]


async def test_other_options_are_another_connection_and_the_old_one_ends(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[spoken("One")], [spoken("Two")]]
    asked = request(HELLO)
    await parts(voice, asked)
    await parts(voice, replace(asked, bot=replace(asked.bot, voice="cedar")))
    first, second = server.connections
    assert second.session["audio"]["output"]["voice"] == "cedar"
    assert first.session["audio"]["output"]["voice"] != "cedar"
    assert len(voice) == 1


async def test_reply_that_is_given_up_ends_its_connection(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.replies = [[spoken("A long story", 2.0, 20)]]
    async with aclosing(voice.generate(request(HELLO))) as said:  # type: ignore[type-var]
        await anext(said)
    assert len(voice) == 0


async def test_model_that_does_not_answer_is_an_error_and_leaves_nothing(
    server: RealtimeServer, voice: RealtimeVoice
) -> None:
    server.mute = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await parts(voice, request(HELLO))
    assert len(voice) == 0


async def test_options_of_the_room_reach_the_model(server: RealtimeServer) -> None:
    server.replies = [[spoken("One")]]
    given = NamedProvider(plugin="openai", options={"base_url": server.url, "api_key": "none"})
    voice = RealtimeVoice("near/live", Plugins({"near": given}))
    voiced = ProviderNames(realtime="near/live", options=Raw(b'{"realtime": {"speed": 1.25}}'))
    await parts(voice, replace(request(HELLO), voiced=voiced))
    [connection] = server.connections
    assert connection.session["audio"]["output"]["speed"] == 1.25
    await voice.aclose()
