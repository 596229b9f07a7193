"""Versions are compared and spelled exactly; an entry's tag changes whenever its state does."""

import pytest

from src.state.errors import MalformedVersion
from src.state.models import (
    ZERO,
    Ack,
    Change,
    Durability,
    Entry,
    Version,
    command_key,
    event_id,
)
from tests.support.kinds import BEGAN, NOTEBOOKS, Notebook, notebook

HIGHEST = (1 << 63) - 1


def test_versions_are_ordered_by_epoch_and_then_by_seq() -> None:
    mixed = [Version(2, 0), Version(0, 9), Version(1, 2), ZERO, Version(1, 1)]
    assert sorted(mixed) == [ZERO, Version(0, 9), Version(1, 1), Version(1, 2), Version(2, 0)]


@pytest.mark.parametrize(
    "version", [ZERO, Version(0, 7), Version(1 << 32, 12), Version(HIGHEST, HIGHEST)]
)
def test_token_comes_back_as_its_version(version: Version) -> None:
    assert Version.parse(version.token) == version


@pytest.mark.parametrize(
    "token",
    [
        "",
        "1",
        ".",
        "1.",
        ".1",
        "1.x",
        "x.1",
        "-1.1",
        "1.-1",
        "1.1.1",
        " 1.1",
        "1. 1",
        "٣.1",
        "1.٣",
        "²1",
        f"{1 << 63}.1",
        f"1.{1 << 63}",
        "1" * 20 + ".1",
        "1." + "1" * 20,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(MalformedVersion):
        Version.parse(token)


def test_body_is_made_once_and_its_size_is_known_from_then_on() -> None:
    made: list[bytes] = []

    def encode(state: Notebook) -> bytes:
        made.append(NOTEBOOKS.encode_state(state))
        return made[-1]

    entry = notebook("n", Version(1, 1), "one")
    assert entry.size is None
    assert entry.body(encode) == entry.body(encode) == made[0]
    assert len(made) == 1
    assert [entry.size] == [len(body) for body in made]


def test_tag_names_what_is_buffered_beyond_the_version() -> None:
    state = Notebook(("one",))
    assert Entry("n", Version(3, 7), state).etag == '"3.7"'
    assert Entry("n", Version(3, 7), state, Version(4, 9)).etag == '"3.7+4.9"'


def test_event_of_a_command_is_named_after_its_key_whatever_that_is() -> None:
    assert event_id("a:b", 3) == "a:b:3"
    assert command_key("a:b:3") == "a:b"


def test_change_of_a_config_is_announced_without_an_epoch() -> None:
    announced = Change(5, "bot", "ada", 7, BEGAN).announcement
    assert (announced.kind, announced.id, announced.version) == ("bot", "ada", Version(0, 7))


def test_answer_is_a_first_one_unless_it_is_called_a_repeat() -> None:
    assert not Ack(ZERO, Durability.LOGGED, notebook("n", ZERO)).repeated
