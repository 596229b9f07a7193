"""How one server process listens to its clients."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from src.api.app import create_app
from src.api.serving import _Server, calm_collector
from src.api.settings import ApiSettings


def test_a_live_frame_is_not_taken_in_beyond_what_it_may_hold() -> None:
    """Compressed, a few kilobytes would otherwise be 16 MiB in memory before they are refused."""
    settings = ApiSettings(jwt_secret=SecretStr("x" * 32), max_body_bytes=2048)

    # A character is four bytes at the most; the session says of a frame in characters.
    assert _Server(create_app(settings)).config.ws_max_size == 4 * 2048


@pytest.fixture
def collector() -> Iterator[None]:
    """Python's own garbage collector, and again at the end."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def full_collections_of_turns(count: int) -> int:
    """Have turns of a hundred objects come thirty at a time, while the thirty before them end."""
    before = gc.get_stats()[2]["collections"]
    under_way: list[list[list[int]]] = []
    for _ in range(count // 30):
        del under_way[:-30]
        under_way += [[[] for _ in range(100)] for _ in range(30)]
    return int(gc.get_stats()[2]["collections"] - before)


@pytest.mark.usefixtures("collector")
def test_turns_that_come_and_go_have_nobody_look_at_all_that_a_server_holds() -> None:
    streams: list[list[list[int]]] = [[[] for _ in range(300)] for _ in range(1000)]
    gc.collect()
    assert full_collections_of_turns(10_000) > 0

    calm_collector()

    assert full_collections_of_turns(10_000) == 0
    assert len(streams) == 1000


@pytest.mark.usefixtures("collector")
def test_what_a_server_is_made_of_is_looked_at_no_more() -> None:
    held = len(gc.get_objects())

    calm_collector()

    assert gc.get_freeze_count() >= held / 2
    assert len(gc.get_objects()) < held / 2
