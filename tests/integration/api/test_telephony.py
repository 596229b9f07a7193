"""Telephone calls by Twilio's media streams: a recorded call, in order and out of it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from src.api.auth.principals import Role
from src.api.telephony import mulaw, twilio
from tests.integration.api.test_live_sound import SCOUT_HZ, STORY, VOICED
from tests.support.api import RunningServer, running_server
from tests.support.calls import hosting, pitch
from tests.support.cluster_settings import eventually

SECRET, BASE = "an auth token of the tests, long enough", "wss://voice.example.com"
PATH = "/agent/voice/twilio/crew"
RECORDED = [
    msgspec.json.decode(line)
    for line in Path(__file__).with_name("twilio_call.jsonl").read_text().splitlines()
]
"""A call: connected, start, a word of 0.6 s at 700 Hz, a second of silence, the key 5, stop."""
CONNECTED, START, *SPOKEN, PRESSED, STOP = RECORDED
CALL = f"call-{START['start']['callSid']}"
STREAM = START["streamSid"]
PIECE_S = 0.04
WAV = START["start"]["mediaFormat"] | {"encoding": "audio/wav"}

pytestmark = pytest.mark.directly("it takes calls, which the servers behind nginx do not here")


@pytest.fixture
async def server(database_url: str, redis_url: str) -> AsyncIterator[RunningServer]:
    """A server that takes calls, with the team of Scout."""
    async with running_server(
        database_url, redis_url, host_calls=hosting, twilio_secret=SECRET, twilio_url=BASE
    ) as one:
        yield one


async def begin(server: RunningServer, says: str = "Hello to you.") -> None:
    options = {"llm": {"default": says}, "tts": {"hz": SCOUT_HZ, "ms_per_char": 30}}
    async with server.as_("root", Role.ADMIN) as root:
        for path, body in (
            ("bots", {"id": "scout", "name": "Scout", "providers": {"options": options}}),
            ("teams", {"id": "crew", "name": "Crew", "members": [{"bot": "scout"}]}),
            ("settings", {"id": "providers", "value": VOICED}),
        ):
            made = await root.post(f"/api/v1/{path}", json=body)
            assert made.status_code == 201, made.text


class Company:
    """Twilio's end of one stream: plays what comes, and echoes marks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.played = b""
        self.events: list[str] = []

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send_str(msgspec.json.encode(message).decode())

    async def speak(self, messages: Sequence[Any] = SPOKEN) -> None:
        """Send sound as it is spoken."""
        for message in messages:
            await self.send(message)
            await asyncio.sleep(PIECE_S)

    async def listen(self, until: str = "") -> None:
        """Take what comes up to an event of this name, or to the end."""
        async for received in self.socket:
            message = received.json()
            assert message["streamSid"] == STREAM
            self.events.append(message["event"])
            if message["event"] == "media":
                self.played += mulaw.decode(b64decode(message["media"]["payload"]))
            if message["event"] == "mark":
                await self.send(message)
            if message["event"] == until:
                return


@asynccontextmanager
async def stream(server: RunningServer, path: str = PATH) -> AsyncIterator[Company]:
    headers = {"X-Twilio-Signature": twilio.signature(SECRET, BASE + path)}
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as http,
        http.ws_connect(server.url + path, headers=headers) as socket,
    ):
        yield Company(socket)


async def conversation(server: RunningServer) -> dict[str, Any]:
    async with server.as_("root", Role.ADMIN) as root:
        answer = await root.get(f"/api/v1/conversations/{CALL}")
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


async def hosted(server: RunningServer) -> None:
    """Wait until a call is hosted: from then on what is said is heard."""
    calls = server.app.state.calls
    await eventually(lambda: calls.buffers()["calls"].size == 1, what="a call that is hosted")


async def has_turns(server: RunningServer, count: int) -> bool:
    return len((await conversation(server))["messages"]) >= count


def said(state: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["author"]["id"], turn["text"]) for turn in state["messages"]]


@pytest.mark.parametrize("path", [PATH, "/api/v1/agent/voice/twilio/callback/crew"])
async def test_a_recorded_call_is_a_conversation_with_the_team(
    server: RunningServer, path: str
) -> None:
    await begin(server)
    async with stream(server, path) as company:
        await company.send(CONNECTED, START)
        await company.speak()
        await company.listen(until="mark")
        # A turn is logged when all of it was heard.
        await eventually(lambda: has_turns(server, 2), within_s=20, what="the bot's turn")
        await company.send(PRESSED, STOP)
        await company.listen()
    state = await conversation(server)

    assert said(state)[:3] == [
        ("caller", "Hello there"),
        ("scout", "Hello to you."),
        ("caller", "[key 5]"),
    ]
    assert pitch(company.played, mulaw.SAMPLE_RATE) == pytest.approx(SCOUT_HZ, abs=10)
    [caller] = [one for one in state["participants"] if one["kind"] == "person"]
    assert (caller["name"], caller["user_id"], caller["state"]) == ("Zoe", "zoe", "left")
    assert company.socket.close_code == 1000


async def test_who_speaks_while_the_bot_does_has_its_sound_dropped(server: RunningServer) -> None:
    await begin(server, STORY)
    async with stream(server) as company:
        await company.send(CONNECTED, START)
        await company.speak()
        await company.listen(until="media")
        speaking = asyncio.create_task(company.speak())
        await company.listen(until="clear")
        await speaking
        await company.send(STOP)
        await company.listen()
    state = await conversation(server)

    cut = state["messages"][1]
    assert (cut["author"]["id"], cut["interrupted"]) == ("scout", True)
    assert cut["spoken_until"] < len(STORY)


@pytest.mark.parametrize("end", ["stop", "hang up"])
async def test_the_last_words_before_a_hang_up_are_kept(server: RunningServer, end: str) -> None:
    await begin(server)
    word = SPOKEN[: round(0.6 / PIECE_S)]
    async with stream(server) as company:
        await company.send(CONNECTED, START)
        # Who hangs up before the line is there has said nothing yet.
        await hosted(server)
        await company.speak(word)
        if end == "stop":
            await company.send(STOP)
            await company.listen()
        else:
            await company.socket.close()

    async def logged() -> bool:
        return said(await conversation(server))[:1] == [("caller", "Hello there")]

    assert end == "hang up" or await logged()
    await eventually(logged, within_s=20, what="the last words")


async def test_what_is_broken_or_out_of_order_is_left_out_and_the_call_goes_on(
    server: RunningServer,
) -> None:
    await begin(server)
    payload = {"event": "media", "streamSid": STREAM, "media": {"payload": "%%%"}}
    strange = [
        {"event": "weather"},
        payload,
        {"event": "media"},
        {"event": "mark", "mark": {"name": "never sent"}},
        {"event": "dtmf", "dtmf": {"digit": "x"}},
        START,
        CONNECTED,
        7,
    ]
    async with stream(server) as company:
        await company.send(SPOKEN[0], PRESSED, CONNECTED, START)
        await company.socket.send_str("{")
        await company.socket.send_bytes(b"\x00")
        await company.send(*strange)
        await company.speak()
        await company.listen(until="mark")
        await company.send(STOP, STOP)
        await company.listen()
    state = await conversation(server)

    assert said(state) == [("caller", "Hello there"), ("scout", "Hello to you.")]
    assert company.socket.close_code == 1000


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([CONNECTED, STOP], 1000),
        ([CONNECTED, {"event": "media", "media": {"payload": "/" * (1 << 16)}}], 1009),
        ([START | {"start": START["start"] | {"mediaFormat": WAV}}], 1003),
    ],
    ids=["no start", "too long", "another format"],
)
async def test_a_stream_that_is_no_call_is_closed_and_leaves_nothing(
    server: RunningServer, messages: list[Any], code: int
) -> None:
    await begin(server)
    async with stream(server) as company:
        await company.send(*messages)
        await company.listen()
    async with server.as_("root", Role.ADMIN) as root:
        found = await root.get(f"/api/v1/conversations/{CALL}")

    assert company.socket.close_code == code
    assert found.status_code == 404


@pytest.mark.parametrize(
    ("path", "signed", "status"),
    [
        (PATH, None, 401),
        (PATH, "/agent/voice/twilio/other", 401),
        ("/agent/voice/twilio/nobody", "/agent/voice/twilio/nobody", 404),
        ("/agent/voice/acme/crew", "/agent/voice/acme/crew", 404),
    ],
)
async def test_only_twilio_gets_in_and_only_to_a_team(
    server: RunningServer, path: str, signed: str | None, status: int
) -> None:
    await begin(server)
    headers = {"X-Twilio-Signature": twilio.signature(SECRET, BASE + signed)} if signed else {}
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(server.url + path, headers=headers)

    assert refused.value.status == status


async def test_without_the_settings_nobody_gets_in(database_url: str, redis_url: str) -> None:
    headers = {"X-Twilio-Signature": twilio.signature("", BASE + PATH)}
    async with (
        running_server(database_url, redis_url, host_calls=hosting) as plain,
        aiohttp.ClientSession() as http,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(plain.url + PATH, headers=headers)

    assert refused.value.status == 503
