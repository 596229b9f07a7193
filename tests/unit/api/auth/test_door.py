"""The door: what is remembered of those who came in, and who does not come in any more."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from src.api.auth.door import Door
from src.api.auth.principals import Role
from src.api.auth.tokens import Tokens, issue_token
from src.api.errors import Unauthorized
from tests.unit.api.given import Revoked

SECRET = "a secret of tests, at least thirty-two characters"


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def header(subject: str, minutes: float = 30, session: str | None = None) -> bytes:
    lifetime = timedelta(minutes=minutes)
    token = issue_token(SECRET, subject, [Role.MEMBER], lifetime=lifetime, session=session)
    return f"Bearer {token}".encode()


def opened(
    clock: Clock | None = None, revoked: Revoked | None = None, max_remembered: int = 10
) -> Door:
    clock = clock or Clock()
    door = Door(Tokens(SECRET, now=clock), max_remembered=max_remembered, now=clock)
    door.open(revoked or Revoked())
    return door


async def test_the_second_request_with_a_token_is_answered_from_memory() -> None:
    door, shown = opened(), header("zoe")
    assert door.known(shown) is None

    first = await door.authenticate(shown)

    assert door.known(shown) is first
    assert await door.authenticate(shown) is first


async def test_a_token_is_remembered_in_one_spelling() -> None:
    door, shown = opened(), header("zoe")
    others = [shown.replace(b" ", b" " * n) for n in (2, 9)] + [shown.replace(b"B", b"b", 1)]
    for other in others:
        assert (await door.authenticate(other)).id == "zoe"
        assert door.known(other) is None
    await door.authenticate(shown)
    assert door.known(shown) is not None


async def test_a_remembered_token_expires_like_any_other() -> None:
    clock = Clock()
    door, shown = opened(clock), header("zoe", minutes=1)
    caller = await door.authenticate(shown)

    clock.now += 61

    assert door.known(shown) is None
    assert not door.admits(caller)
    with pytest.raises(Unauthorized, match="expired"):
        await door.authenticate(shown)


async def test_memory_of_tokens_is_bounded_and_drops_expired_ones_first() -> None:
    clock = Clock()
    door = opened(clock, max_remembered=3)
    short, long = header("short", minutes=1 / 6), [header(f"user-{n}") for n in range(4)]
    await door.authenticate(long[0])
    await door.authenticate(short)
    await door.authenticate(long[1])

    clock.now += 11
    await door.authenticate(long[2])
    assert [one for one in long if door.known(one)] == long[:3]

    await door.authenticate(long[3])
    assert len(door) == 3
    assert [one for one in long if door.known(one)] == long[1:]


@pytest.mark.parametrize(
    "shown", [None, b"", b"Basic em9lOnpvZQ==", b"Bearer", b"Bearer not.a.token"]
)
async def test_anything_else_is_not_let_in(shown: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        await opened().authenticate(shown)


async def test_a_revoked_session_takes_all_its_tokens_along_and_no_others() -> None:
    revoked = Revoked()
    door = opened(revoked=revoked)
    of_session = [header("zoe", minutes, session="s-1") for minutes in (1, 2)]
    other = header("zoe", session="s-2")
    await door.authenticate(of_session[0])

    revoked.tokens.add("s-1")

    for shown in of_session:
        assert door.known(shown) is None
        with pytest.raises(Unauthorized, match="revoked"):
            await door.authenticate(shown)
    assert (await door.authenticate(other)).id == "zoe"


async def test_tokens_of_a_user_from_before_a_moment_are_refused() -> None:
    revoked = Revoked()
    door, shown = opened(revoked=revoked), header("zoe")
    caller = await door.authenticate(shown)

    revoked.users["zoe"] = int(caller.issued_at)

    assert not door.admits(caller)
    with pytest.raises(Unauthorized, match="revoked"):
        await door.authenticate(shown)

    revoked.users["zoe"] = int(caller.issued_at) - 1
    assert await door.authenticate(shown) is caller


async def test_a_server_that_may_have_missed_something_asks_before_it_answers() -> None:
    revoked = Revoked()
    door, shown = opened(revoked=revoked), header("zoe")
    await door.authenticate(shown)

    revoked.sure = False

    assert door.known(shown) is None
    await door.authenticate(shown)
    assert revoked.reads == 1
