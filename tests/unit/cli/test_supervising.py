"""How many servers there should be, and under which addresses they are."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from src.api.settings import ApiSettings
from src.cli.supervising import Child, Span, next_count, parse_span
from src.swarm.rooms.workers import WorkerItem


def hosting(*sessions: int) -> list[WorkerItem]:
    return [
        WorkerItem(f"s-{number}", f"http://s-{number}", "ready", 10, taken, taken / 10, 0.0)
        for number, taken in enumerate(sessions)
    ]


@pytest.mark.parametrize(
    ("text", "span"), [("3", Span(3, 3)), ("2:6", Span(2, 6)), ("1:1", Span(1, 1))]
)
def test_number_or_range_of_servers_is_read(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["0", "6:2", "two", "2:", ":2", "2:6:9", "-1", "1000"])
def test_what_is_no_number_of_servers_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no number of servers; write 3, or 2:6"):
        parse_span(text)


@pytest.mark.parametrize(
    ("count", "now", "sessions", "waiting"),
    [
        (2, 2, (1, 2), 0),
        (3, 2, (8, 9), 0),
        (3, 2, (8, 8), 1),
        (4, 3, (10, 10, 10), 50),
        (4, 4, (10, 10, 10, 10), 50),
        (3, 4, (1, 0, 0, 0), 0),
        (2, 2, (0, 0), 0),
        (3, 3, (), 9),
    ],
)
def test_servers_come_and_go_one_at_a_time_within_the_range(
    count: int, now: int, sessions: tuple[int, ...], waiting: int
) -> None:
    assert next_count(Span(2, 4), now, hosting(*sessions), waiting) == count


@pytest.mark.parametrize(
    ("given", "host", "url"),
    [
        ("https://swarm.example:8080", "0.0.0.0", "https://swarm.example:8081"),  # only named
        (None, "10.0.0.7", "http://10.0.0.7:8081"),
        (None, "::1", "http://[::1]:8081"),
        ("http://[fd00::1]:8080", "::1", "http://[fd00::1]:8081"),
    ],
)
def test_each_server_has_an_address_with_its_own_port(
    given: str | None, host: str, url: str
) -> None:
    api = ApiSettings(jwt_secret=SecretStr("s" * 40), host=host)

    assert Child(8081, api, given, 0.0, rooms=False).server_url == url
