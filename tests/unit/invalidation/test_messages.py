"""What goes over the wire comes back, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.invalidation.messages import Message, decode_message, encode_changes
from src.state.errors import Undecodable
from src.state.models import Announcement, Version

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 2**62)
changes = st.lists(st.builds(Announcement, texts, texts, st.builds(Version, numbers, numbers)))


@given(texts, changes)
def test_changes_come_back(origin: str, told: list[Announcement]) -> None:
    data = b"abc 12 " + encode_changes(origin, tuple(told))
    assert decode_message(3, data) == Message(3, "abc", 12, origin, tuple(told))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"abc 1",
        b"abc x []",
        b"abc 1 {}",
        b'abc 1 ["a",[["k","i",1]]]',
        b'abc 1 ["a",[["k","i",1,"2"]]]',
        b"abc 1 \xff",
        b"\xff 1 " + encode_changes("a", ()),
    ],
)
def test_anything_else_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_message(0, data)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode_message(0, data)
    except Undecodable:
        return


def test_servers_of_all_releases_spell_a_change_in_the_same_way() -> None:
    told = (Announcement("bot", "ada", Version(3, 7)),)
    assert encode_changes("srv-1", told) == b'["srv-1",[["bot","ada",3,7]]]'
