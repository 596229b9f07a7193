"""Ids: unique, sortable by time, and the same for a repeated request."""

from __future__ import annotations

import uuid

from src.api.ids import id_of, new_id


def test_an_id_is_a_uuid_of_version_seven() -> None:
    made = uuid.UUID(new_id())

    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_ids_differ_and_begin_with_the_time() -> None:
    made = [new_id() for _ in range(1000)]

    assert len(set(made)) == 1000
    assert [one[:13] for one in made] == sorted(one[:13] for one in made)


def test_the_same_caller_and_key_find_the_same_id() -> None:
    assert id_of("zoe", "k-1") == id_of("zoe", "k-1")
    assert len({id_of("zoe", "k-1"), id_of("yan", "k-1"), id_of("zoe", "k-2")}) == 3
