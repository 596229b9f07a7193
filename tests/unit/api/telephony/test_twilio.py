"""Twilio's messages, whole and broken, and its signature."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.api.telephony import twilio

SECRET = "12345678901234567890123456789012"
URL = "wss://voice.example.com/agent/voice/twilio/crew"
BEGAN: dict[str, Any] = {
    "streamSid": "MZ1",
    "callSid": "CA1",
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
}


def text(**message: Any) -> str:
    return msgspec.json.encode(message).decode()


def test_the_beginning_of_a_stream_is_read() -> None:
    message = twilio.read(text(event="start", sequenceNumber="1", streamSid="MZ1", start=BEGAN))

    assert message.start == twilio.Began(
        "MZ1", "CA1", twilio.Format("audio/x-mulaw", 8000, 1), custom_parameters={}
    )


def test_an_event_that_nobody_knows_is_a_message_without_a_part() -> None:
    message = twilio.read(text(event="weather", weather={"sun": True}))

    assert (message.event, message.start, message.media) == ("weather", None, None)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "{}",
        text(event=7),
        text(event="start"),
        text(event="media"),
        text(event="mark", mark=None),
        text(event="dtmf", dtmf={"digit": "55"}),
        text(event="start", start=BEGAN | {"callSid": "../../x"}),
        text(event="start", start=BEGAN | {"mediaFormat": {}}),
        text(event="media", media={"payload": 7}),
        '{"event": "media", "media": {"payload": "\ud800"}}',
    ],
)
def test_a_broken_message_is_none(broken: str) -> None:
    with pytest.raises(twilio.BadMessage):
        twilio.read(broken)


@given(st.text())
def test_no_text_does_more_harm_than_that(some: str) -> None:
    try:
        message = twilio.read(some)
    except twilio.BadMessage:
        return
    assert isinstance(message.event, str)


@pytest.mark.parametrize("payload", ["%%%", "abc", "/w==x", "ÿÿ"])
def test_sound_that_is_no_base64_is_refused(payload: str) -> None:
    with pytest.raises(twilio.BadMessage, match="base64"):
        twilio.sound(twilio.Media(payload))


def test_what_is_sent_names_its_stream() -> None:
    sent = [twilio.media("MZ1", b"\xff\x00"), twilio.mark("MZ1", "m1"), twilio.clear("MZ1")]

    assert [msgspec.json.decode(one) for one in sent] == [
        {"event": "media", "streamSid": "MZ1", "media": {"payload": "/wA="}},
        {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}},
        {"event": "clear", "streamSid": "MZ1"},
    ]


def test_only_the_signature_of_this_address_by_this_secret_is_taken() -> None:
    good = twilio.signature(SECRET, URL)

    assert twilio.is_signed(SECRET, URL, good)
    assert not twilio.is_signed(SECRET, URL + "s", good)
    assert not twilio.is_signed(SECRET[::-1], URL, good)
    assert not twilio.is_signed(SECRET, URL, good[:-1])
    assert not twilio.is_signed(SECRET, URL, "ÿ")
    assert not twilio.is_signed(SECRET, URL, None)


def test_the_signature_is_twilios() -> None:
    """HMAC-SHA1 of the address by the auth token, in base64, made by another program."""
    assert twilio.signature("12345", "wss://example.com/s") == SIGNED_ELSEWHERE


SIGNED_ELSEWHERE = "PVpWKAAHSWE7mwO4BEyej1B9ApE="
