"""Live sessions with sound: binary frames both ways, on whichever server they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from src.agents.providers.tone import SAMPLE_RATE, tone
from src.api.auth.principals import Role
from tests.integration.api.test_live import session
from tests.support.api import RunningServer, bearer, running_server
from tests.support.calls import hosting, pitch
from tests.support.talker import Talker

HELLO_HZ, LATER_HZ, SCOUT_HZ = 700.0, 900.0, 400.0
STORY = "I have a long story to tell you. " * 5
VOICED = {
    "stt": "offline/phrases",
    "tts": "offline/tone",
    "options": {"stt": {"phrases": {"700": "Hello there", "900": "And again"}}},
}

pytestmark = pytest.mark.directly("it takes sound, which the servers behind nginx do not here")


@pytest.fixture
async def pair(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    """Two servers on the same stores that take sound."""
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_server(database_url, redis_url, host_calls=hosting)
            )
            for _ in range(2)
        ]
        yield one, two


async def begin(server: RunningServer, says: str = "Hello to you.") -> None:
    """Begin the conversation of Zoe, Yan and Scout."""
    options = {"llm": {"default": says}, "tts": {"hz": SCOUT_HZ, "ms_per_char": 30}}
    setting = {"id": "providers", "value": VOICED}
    people = [{"id": id, "kind": "person", "name": id.title()} for id in ("zoe", "yan")]
    scout = {"id": "scout", "kind": "bot", "name": "Scout"}
    async with server.as_("root", Role.ADMIN) as root:
        for path, body in (
            ("bots", {"id": "scout", "name": "Scout", "providers": {"options": options}}),
            ("settings", setting),
            ("conversations", {"id": "c-1", "participants": [*people, scout]}),
        ):
            made = await root.post(f"/api/v1/{path}", json=body)
            assert made.status_code == 201, made.text


async def test_a_person_speaks_and_hears_the_bot_on_a_server_that_did_not_own_the_conversation(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    await begin(one)
    async with session(two) as socket, session(one, "yan") as reader:
        zoe, yan = Talker(socket), Talker(reader)
        begun = await zoe.begin(sample_rate=SAMPLE_RATE)
        await zoe.say(HELLO_HZ)
        question, answer = await zoe.turn(), await zoe.turn()
        read = [await yan.turn(), await yan.turn()]

    assert (begun["type"], begun["state"], begun["sample_rate"]) == ("audio", "on", SAMPLE_RATE)
    assert (question["author"]["id"], question["text"]) == ("zoe", "Hello there")
    assert (answer["author"]["id"], answer["text"]) == ("scout", "Hello to you.")
    assert pitch(bytes(zoe.sound)) == pytest.approx(SCOUT_HZ, abs=10)
    assert [turn["id"] for turn in read] == [question["id"], answer["id"]]
    assert not yan.sound


async def test_who_begins_to_speak_is_told_to_drop_the_bots_sound(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, _ = pair
    await begin(one, STORY)
    async with session(one) as socket:
        zoe = Talker(socket)
        await zoe.begin()
        await zoe.say(HELLO_HZ)
        await zoe.until("sound")
        speaking = asyncio.create_task(zoe.say(LATER_HZ))
        await zoe.until("clear")
        cut = await zoe.turn()
        again = await zoe.turn()
        await speaking

    assert (cut["author"]["id"], cut["interrupted"]) == ("scout", True)
    assert 0 < cut["spoken_until"] < len(STORY)
    assert again["text"] == "And again"


async def test_sound_ends_and_the_session_goes_on(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, _ = pair
    await begin(one)
    async with session(one) as socket:
        zoe = Talker(socket)
        await zoe.begin()
        await socket.send_json({"type": "hang_up"})
        over = await zoe.until("audio")
        await socket.send_json({"type": "ping", "ref": "p"})
        pong = await zoe.until("pong")
        again = await zoe.begin()

    assert over["state"] == "off"
    assert pong["ref"] == "p"
    assert again["state"] == "on"


async def test_last_words_are_kept_when_the_connection_is_lost(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    await begin(one)
    async with session(one) as socket, session(two, "yan") as reader:
        zoe, yan = Talker(socket), Talker(reader)
        await zoe.begin()
        await socket.send_bytes(tone(HELLO_HZ, 0.6))
        await socket.close()
        said = await yan.turn()

    assert (said["author"]["id"], said["text"]) == ("zoe", "Hello there")


async def test_a_wrong_frame_of_sound_is_named_and_the_session_goes_on(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, _ = pair
    await begin(one)
    async with session(one) as socket:
        zoe = Talker(socket)
        wrong_rate = await zoe.begin(sample_rate=44_100)
        unknown = await zoe.begin(colour=1)
        await zoe.begin()
        twice = await zoe.begin()
        answers = []
        for pcm in (b"\x00", bytes(2 * SAMPLE_RATE + 2)):
            await socket.send_bytes(pcm)
            answers.append((await zoe.until("error"))["problem"]["code"])
        for _ in range(12):
            await socket.send_bytes(bytes(SAMPLE_RATE))
        too_fast = await zoe.until("error")

    assert wrong_rate["problem"]["errors"][0]["field"] == "sample_rate"
    assert unknown["problem"]["errors"][0]["field"] == "colour"
    assert twice["problem"]["code"] == "exists"
    assert answers == ["invalid", "too_large"]
    assert too_fast["problem"]["code"] == "too_fast"


async def test_without_providers_the_answer_says_which_one_to_set(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, _ = pair
    await begin(one)
    async with one.as_("root", Role.ADMIN) as root:
        put = await root.put("/api/v1/settings/providers", json={"value": {}})
        assert put.status_code == 200, put.text
    async with session(one) as socket:
        refused = await Talker(socket).begin()

    assert refused["problem"]["code"] == "no_voice"
    assert "providers.stt" in refused["problem"]["detail"]


async def test_a_server_without_rooms_says_how_it_takes_sound(
    database_url: str, redis_url: str
) -> None:
    async with running_server(database_url, redis_url) as plain:
        await begin(plain)
        async with session(plain) as socket:
            refused = await Talker(socket).begin()

    assert (refused["problem"]["status"], refused["problem"]["code"]) == (503, "not_configured")
    assert "--rooms" in refused["problem"]["detail"]


async def test_who_may_only_read_has_no_sound(pair: tuple[RunningServer, RunningServer]) -> None:
    one, _ = pair
    await begin(one)
    async with session(one, headers=bearer("vic", Role.VIEWER)) as socket:
        refused = await Talker(socket).begin()

    assert refused["problem"]["status"] == 403
