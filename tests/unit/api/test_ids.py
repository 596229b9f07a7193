"""Ids: unique, sortable by time, and the same for a repeated request."""

from __future__ import annotations

import re
import uuid

from src.api.auth.principals import Principal, Role, principal
from src.api.ids import id_of, key_of, new_id
from src.state.models import event_id


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


def caller(id: str, role: Role = Role.MEMBER) -> Principal:
    return principal(id, [role], 0.0)


def test_nobody_can_write_another_members_key() -> None:
    zoes = key_of(caller("zoe"), "k-1")
    spelled_out = key_of(caller("yan"), zoes)

    assert key_of(caller("zoe"), "k-1") == zoes
    assert len({zoes, key_of(caller("yan"), "k-1"), spelled_out, "k-1"}) == 4


def test_what_one_worker_began_another_may_repeat() -> None:
    one, two = caller("worker-1", Role.SERVICE), caller("worker-2", Role.SERVICE)

    assert key_of(one, "k-1") == key_of(two, "k-1") == "k-1"


def test_the_longest_key_still_makes_an_id() -> None:
    longest = event_id(key_of(caller("zoe"), "k" * 120), 12)

    assert re.fullmatch(r"[A-Za-z0-9._:@-]{1,128}", longest)
    assert key_of(caller("zoe"), "k" * 119) != key_of(caller("zoe"), "k" * 120)
