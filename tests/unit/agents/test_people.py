"""What a room's metadata says of people and conversations, and what is no such thing."""

import pytest
from msgspec import convert

from src.agents.people import member_of, named_in
from src.swarm.shapes.bounds import Id


def test_what_is_named_is_found() -> None:
    assert named_in('{"user_id": "zoe", "more": 1}', "user_id") == "zoe"


@pytest.mark.parametrize(
    "metadata", [None, "", "zoe", "[]", "{}", '{"user_id": 7}', '{"user_id": ""}', '{"user_id"']
)
def test_what_names_nobody_is_nobody(metadata: str | None) -> None:
    assert named_in(metadata, "user_id") is None


@pytest.mark.parametrize(
    ("identity", "member"),
    [
        ("zoe", "zoe"),
        ("sip_+15105550100", "sip__15105550100"),
        ("Zoë B.", "Zo__B."),
        ("z" * 200, "z" * 128),
    ],
)
def test_whoever_is_in_a_room_can_be_a_member(identity: str, member: str) -> None:
    assert convert(member_of(identity), Id) == member
