"""Settings of LiveKit: all or none, and where people find it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from src.swarm.rooms.settings import LiveKitSettings

WHOLE: dict[str, Any] = {
    "url": "ws://livekit:7880",
    "api_key": "key",
    "api_secret": "planted-secret",
}


def test_without_any_there_is_no_livekit() -> None:
    assert not LiveKitSettings().configured
    assert LiveKitSettings(**WHOLE).configured


@pytest.mark.parametrize("missing", WHOLE)
def test_half_of_it_is_refused_and_the_rest_is_named(missing: str) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != missing}
    with pytest.raises(ValidationError) as refused:
        LiveKitSettings(**rest)

    message = str(refused.value.errors()[0]["msg"])
    assert f"need SWARMSTATE_LIVEKIT_{missing.upper()} beside" in message
    assert "planted-secret" not in message


def test_the_secret_is_masked() -> None:
    assert "planted-secret" not in repr(LiveKitSettings(**WHOLE))


@pytest.mark.parametrize("url", ["livekit:7880", "ftp://livekit", "ws://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        LiveKitSettings(**{**WHOLE, "url": url})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "ws://livekit:7880"),
        ({"client_url": "wss://rooms.example.org"}, "wss://rooms.example.org"),
        ({"url": "http://livekit:7880"}, "ws://livekit:7880"),
        ({"client_url": "https://rooms.example.org/sfu"}, "wss://rooms.example.org/sfu"),
    ],
)
def test_people_are_told_an_address_for_web_sockets(given: dict[str, str], shown: str) -> None:
    assert LiveKitSettings(**{**WHOLE, **given}).shown_url == shown
