"""Tokens: who is believed, for how long, and what a refusal says."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import jwt
import pytest

from src.api.auth.principals import Right, Role
from src.api.auth.tokens import AUDIENCE, Tokens, issue_token
from src.api.errors import Unauthorized
from src.api.lifespan import internal_secret
from src.swarm.errors import NotAServer
from src.swarm.internal_tokens import InternalTokens

SECRET = "a secret of tests, at least thirty-two characters"


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


def forged(**changes: Any) -> bytes:
    now = int(time.time())
    claims = {"sub": "zoe", "roles": ["member"], "aud": AUDIENCE, "iat": now, "exp": now + 60}
    claims.update(changes)
    present = {name: value for name, value in claims.items() if value is not None}
    return bearer(jwt.encode(present, SECRET, algorithm="HS256"))


def test_an_issued_token_names_its_caller_and_rights() -> None:
    token = issue_token(SECRET, "zoe", [Role.MEMBER, Role.VIEWER])

    caller = Tokens(SECRET).authenticate(bearer(token))

    assert caller.id == "zoe"
    assert set(caller.roles) == {Role.MEMBER, Role.VIEWER}
    assert caller.may(Right.TALK)
    assert caller.reads_all
    assert not caller.may(Right.WRITE_CONFIGS)


def test_a_token_is_good_for_thirty_minutes_unless_told_otherwise() -> None:
    claims = jwt.decode(
        issue_token(SECRET, "zoe", [Role.MEMBER]), SECRET, ["HS256"], audience=AUDIENCE
    )

    assert claims["exp"] - claims["iat"] == 30 * 60


def test_the_second_request_with_a_token_is_answered_from_memory() -> None:
    tokens, header = Tokens(SECRET), bearer(issue_token(SECRET, "zoe", [Role.MEMBER]))
    assert tokens.known(header) is None

    first = tokens.authenticate(header)

    assert tokens.known(header) is first
    assert tokens.authenticate(header) is first


def test_a_remembered_token_expires_like_any_other() -> None:
    clock = Clock()
    tokens = Tokens(SECRET, now=clock)
    header = bearer(issue_token(SECRET, "zoe", [Role.MEMBER], lifetime=timedelta(minutes=1)))
    tokens.authenticate(header)

    clock.now += 61

    assert tokens.known(header) is None
    with pytest.raises(Unauthorized, match="expired"):
        tokens.authenticate(header)


def test_memory_of_tokens_is_bounded_and_drops_expired_ones_first() -> None:
    clock = Clock()
    tokens = Tokens(SECRET, max_remembered=3, now=clock)
    short = bearer(issue_token(SECRET, "short", [Role.MEMBER], lifetime=timedelta(seconds=10)))
    long = [bearer(issue_token(SECRET, f"user-{n}", [Role.MEMBER])) for n in range(4)]
    tokens.authenticate(long[0])
    tokens.authenticate(short)
    tokens.authenticate(long[1])

    clock.now += 11
    tokens.authenticate(long[2])
    assert [header for header in long if tokens.known(header)] == long[:3]

    tokens.authenticate(long[3])
    assert len(tokens) == 3
    assert [header for header in long if tokens.known(header)] == long[1:]


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Basic em9lOnpvZQ==",
        b"Bearer",
        b"Bearer not.a.token",
        b"Bearer \xff\xfe",
        bearer(
            issue_token("another secret of at least thirty-two characters", "zoe", [Role.ADMIN])
        ),
        bearer(jwt.encode({"sub": "zoe", "roles": ["admin"]}, "", algorithm="none")),
        forged(aud="another-service"),
        forged(exp=None),
        forged(exp=int(time.time()) - 1),
        forged(sub=None),
        forged(sub=""),
        forged(sub="zoe\n"),
        forged(sub="x" * 129),
        forged(roles=None),
        forged(roles="admin"),
    ],
)
def test_anything_else_is_not_believed(header: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        Tokens(SECRET).authenticate(header)


def test_roles_that_this_release_does_not_know_give_no_right() -> None:
    assert Tokens(SECRET).authenticate(forged(roles=["emperor"])).rights == frozenset()


@pytest.mark.parametrize(
    ("subject", "roles"), [("", [Role.MEMBER]), ("a b", [Role.MEMBER]), ("zoe", [])]
)
def test_no_token_is_issued_that_would_not_be_believed(subject: str, roles: list[Role]) -> None:
    with pytest.raises(ValueError, match=r"subject|role"):
        issue_token(SECRET, subject, roles)


def test_users_and_servers_cannot_stand_in_for_each_other() -> None:
    between_servers = InternalTokens(internal_secret(SECRET))
    user = issue_token(SECRET, "zoe", [Role.ADMIN])

    with pytest.raises(NotAServer):
        between_servers.verify(user)
    with pytest.raises(Unauthorized):
        Tokens(SECRET).authenticate(bearer(between_servers.sign()))
