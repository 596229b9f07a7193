"""Passwords: who gets in, the work it takes, and how many may wait."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from src.api.auth.passwords import Passwords
from src.state.errors import Overloaded

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_the_password_of_a_hash_matches_and_no_other() -> None:
    passwords = Passwords(1, CHEAP)
    with passwords.open():
        hash = await passwords.hash("correct horse battery")

        assert hash.startswith("$argon2id$")
        assert "horse" not in hash
        assert await passwords.matches(hash, "correct horse battery")
        assert not await passwords.matches(hash, "correct horse batter")
        assert not await passwords.matches("no hash at all", "correct horse battery")


async def test_a_user_who_does_not_exist_takes_the_same_work() -> None:
    passwords = Passwords(1, CHEAP)
    with passwords.open():
        hash = await passwords.hash("correct horse battery")
        await passwords.matches(hash, "wrong")
        before = passwords.compared

        assert not await passwords.matches(None, "nobody's password")

        assert passwords.compared == before + 1


async def test_hashes_of_other_parameters_are_dated() -> None:
    passwords = Passwords(1)
    assert passwords.is_dated(CHEAP.hash("correct horse battery"))


async def test_more_than_can_wait_are_refused_and_the_loop_goes_on_meanwhile() -> None:
    passwords = Passwords(1, CHEAP)
    bound = passwords.buffers()["passwords"].bound
    with passwords.open():
        under_way = [asyncio.ensure_future(passwords.hash("p" * 12)) for _ in range(bound)]
        await asyncio.sleep(0)

        with pytest.raises(Overloaded):
            await passwords.hash("p" * 12)

        assert not all(one.done() for one in under_way)
        await asyncio.gather(*under_way)
        assert await passwords.hash("p" * 12)
        assert passwords.buffers()["passwords"].left_out == 1
