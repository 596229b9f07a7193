"""Idempotency keys: a member's are its own, those of bots and workers are shared."""

from __future__ import annotations

import re

from src.api.auth.idempotency import key_of
from src.api.auth.principals import Principal, Role, principal
from src.state.models import event_id


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
