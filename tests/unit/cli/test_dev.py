"""Rooms of `swarmstate dev`: on a LiveKit that is given, on one's own, or said to be missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from src.cli import dev
from src.demo import media
from src.demo.cluster import Stores
from src.embedded import BinariesMissing
from src.embedded.servers import Server, Servers

GIVEN = {
    "SWARMSTATE_LIVEKIT_URL": "wss://livekit.example.com",
    "SWARMSTATE_LIVEKIT_API_KEY": "key",
    "SWARMSTATE_LIVEKIT_API_SECRET": "secret",
}


def opened(settings: Mapping[str, str], *, wanted: bool) -> tuple[Mapping[str, str], str]:
    """Return the settings of LiveKit that servers get, and what is said about it."""
    servers = Servers(Server("postgresql://unused"), Server("redis://unused"))
    stores = Stores(servers, Path("unused"), "secret", settings)
    console = Console(record=True, width=200)
    with dev.open_rooms(stores, settings, [8080], console, wanted=wanted) as found:
        return found, console.export_text()


def test_livekit_that_is_given_is_used() -> None:
    assert opened(GIVEN, wanted=True) == (GIVEN, "")


def test_rooms_are_left_out_when_not_wanted() -> None:
    assert opened(GIVEN, wanted=False) == ({}, "")


def test_where_there_is_none_it_goes_on_without_and_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing() -> None:
        raise BinariesMissing("no livekit-server found: make livekit")

    monkeypatch.setattr(media, "find_livekit", nothing)
    found, told = opened({}, wanted=True)
    assert found == {}
    assert told == "no voice rooms: no livekit-server found: make livekit\n"
