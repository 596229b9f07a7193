"""Tokens: who is believed, for how long, and what a refusal says."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from src.api.auth.principals import Right, Role
from src.api.auth.tokens import AUDIENCE, Tokens, issue_token
from src.api.errors import Unauthorized
from src.api.lifespan import internal_secret
from src.swarm.errors import NotAServer
from src.swarm.internal_tokens import InternalTokens
from tests.unit.api.given import NO_MOMENTS

SECRET = "a secret of tests, at least thirty-two characters"


def forged(**changes: Any) -> bytes:
    now = int(time.time())
    claims = {"sub": "zoe", "roles": ["member"], "aud": AUDIENCE, "iat": now, "exp": now + 60}
    claims.update(changes)
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, SECRET, algorithm="HS256").encode()


def test_an_issued_token_names_its_caller_and_rights() -> None:
    token = issue_token(SECRET, "zoe", [Role.MEMBER, Role.VIEWER])

    caller = Tokens(SECRET).verify(token.encode())

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


def test_a_token_belongs_to_its_login_else_stands_for_itself() -> None:
    of_login = issue_token(SECRET, "zoe", [Role.MEMBER], session="s-1")
    alone = issue_token(SECRET, "zoe", [Role.MEMBER])
    jti = jwt.decode(alone, SECRET, ["HS256"], audience=AUDIENCE)["jti"]

    assert Tokens(SECRET).verify(of_login.encode()).session == "s-1"
    assert Tokens(SECRET).verify(alone.encode()).session == jti


@pytest.mark.parametrize("jti", [None, "", "no id\n", "x" * 129])
def test_a_token_without_an_id_is_named_by_what_it_is(jti: object) -> None:
    token = forged(jti=jti)
    other = forged(jti=jti, sub="yan")

    assert Tokens(SECRET).verify(token).session == Tokens(SECRET).verify(token).session
    assert Tokens(SECRET).verify(token).session != Tokens(SECRET).verify(other).session


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"not.a.token",
        b"\xff\xfe",
        issue_token(
            "another secret of at least thirty-two characters", "zoe", [Role.ADMIN]
        ).encode(),
        jwt.encode({"sub": "zoe", "roles": ["admin"]}, "", algorithm="none").encode(),
        forged(aud="another-service"),
        forged(exp=None),
        forged(exp=int(time.time()) - 1),
        forged(iat="now"),
        forged(sub=None),
        forged(sub=""),
        forged(sub="zoe\n"),
        forged(sub="x" * 129),
        forged(roles=None),
        forged(roles="admin"),
    ],
)
def test_anything_else_is_not_believed(token: bytes) -> None:
    with pytest.raises(Unauthorized):
        Tokens(SECRET).verify(token)


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("moment", NO_MOMENTS)
def test_what_no_clock_shows_is_no_moment(name: str, moment: float) -> None:
    with pytest.raises(Unauthorized, match="moment"):
        Tokens(SECRET).verify(forged(**{name: moment}))


@pytest.mark.parametrize(("ahead_s", "session"), [(600, None), (30, None), (90, "s-1")])
def test_no_token_comes_from_the_future(ahead_s: int, session: str | None) -> None:
    with pytest.raises(Unauthorized, match="future"):
        Tokens(SECRET).verify(forged(iat=int(time.time()) + ahead_s, sid=session))


def test_a_token_counts_as_no_younger_than_it_may_be() -> None:
    """Logout everywhere goes by PostgreSQL's clock, which stamps the tokens of logins alone."""
    now = int(time.time())

    assert Tokens(SECRET).verify(forged(iat=now + 9)).issued_at < now
    assert Tokens(SECRET).verify(forged(iat=now + 9, sid="s-1")).issued_at == now + 9


def test_roles_that_this_release_does_not_know_give_no_right() -> None:
    assert Tokens(SECRET).verify(forged(roles=["emperor"])).rights == frozenset()


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
        Tokens(SECRET).verify(between_servers.sign().encode())
