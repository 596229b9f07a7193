"""What is said of the servers that host rooms."""

from __future__ import annotations

import pytest

from src.state.models import Peer, Places
from src.state.records.swarm_queue import Line
from src.swarm.rooms.workers import WorkersReport, describe


def report(*places: Places, line: Line = Line(), dead: bool = False) -> WorkersReport:
    peers = [
        (Peer(f"s-{number}", f"http://s-{number}", 1, True, dead, one), 0.5)
        for number, one in enumerate(places)
    ]
    return describe(peers, line)


def test_servers_with_a_free_place_are_ready() -> None:
    told = report(Places(10, 9), Places(10, 10), Places(0, 3), Places(10, 11))

    assert [one.state for one in told.workers] == ["ready", "full", "draining", "full"]
    assert [one.load for one in told.workers] == [0.9, 1.0, 1.0, 1.0]
    assert (told.total_workers, told.ready_workers) == (4, 1)
    assert (told.total_places, told.total_sessions) == (30, 33)


def test_servers_without_places_and_dead_ones_host_nothing() -> None:
    assert report(Places(), Places()).workers == ()
    assert report(Places(10, 3), dead=True).workers == ()


@pytest.mark.parametrize(
    ("wanted", "places", "waiting"),
    [
        (0, (Places(10, 0), Places(10, 0)), 0),
        (1, (Places(10, 8),), 0),
        (2, (Places(10, 9),), 0),
        (3, (Places(10, 10), Places(10, 10)), 2),
        (4, (Places(10, 10), Places(10, 10)), 5),
        (2, (Places(4, 4),), 1),
        (1, (), 8),
        (2, (Places(0, 3),), 8),
    ],
)
def test_so_many_servers_are_wanted_that_a_fifth_of_the_places_is_free(
    wanted: int, places: tuple[Places, ...], waiting: int
) -> None:
    assert report(*places, line=Line(waiting)).wanted_workers == wanted


def test_the_line_is_told_as_it_was_seen() -> None:
    told = report(line=Line(3, 12.3456, 2))

    assert (told.session_queue_length, told.oldest_wait_s, told.dead_sessions) == (3, 12.346, 2)
