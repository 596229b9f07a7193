"""Names in Redis: the same on every server, and in one hash slot per partition."""

import pytest

from src.state.errors import MalformedVersion
from src.state.models import ZERO, Version
from src.state.tiers.keys import (
    PARTITIONS,
    body_key,
    bus_key,
    from_sortable,
    partition_of,
    sortable,
    stream_key,
)

HIGHEST = Version((1 << 63) - 1, (1 << 63) - 1)


def test_partitions_are_sixteen_and_each_id_is_always_in_the_same() -> None:
    assert PARTITIONS == 16
    assert [partition_of(id) for id in ("n", "chat-1", "élan")] == [2, 4, 4]


def test_all_keys_of_a_partition_are_in_one_slot() -> None:
    assert body_key("conversation", "n") == "ss:{2}:conversation:n"
    assert (bus_key(13), stream_key(13)) == ("ss:{13}:bus", "ss:{13}:inval")


def test_text_of_a_version_sorts_as_the_version_and_comes_back() -> None:
    ordered = [ZERO, Version(0, 255), Version(1, 2), Version(1, 300), Version(1 << 32, 1), HIGHEST]
    texts = [sortable(version) for version in ordered]
    assert texts == sorted(texts)
    assert [from_sortable(text) for text in texts] == ordered
    assert [from_sortable(text.encode()) for text in texts] == ordered


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, b"0" * 31])
def test_text_of_another_length_is_refused(text: str | bytes) -> None:
    with pytest.raises(MalformedVersion):
        from_sortable(text)
