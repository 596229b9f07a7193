"""What a room's metadata says of people and conversations, and what is no such thing."""

import pytest

from src.agents.people import named_in


def test_what_is_named_is_found() -> None:
    assert named_in('{"user_id": "zoe", "more": 1}', "user_id") == "zoe"


@pytest.mark.parametrize(
    "metadata", [None, "", "zoe", "[]", "{}", '{"user_id": 7}', '{"user_id": ""}', '{"user_id"']
)
def test_what_names_nobody_is_nobody(metadata: str | None) -> None:
    assert named_in(metadata, "user_id") is None
