"""Only a fresh token of a server that knows the secret passes for one."""

import time
from typing import Any

import jwt
import pytest

from src.swarm.errors import NotAServer
from src.swarm.internal_tokens import InternalTokens

SECRET = "a secret that all servers share, long enough for every algorithm that a forger may try"


def signed(*, secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token as servers make it, but for the changes; None leaves a claim out."""
    now = int(time.time())
    claims = {"aud": "swarmstate-internal", "iat": now, "exp": now + 60, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


def test_token_of_another_server_passes() -> None:
    InternalTokens(SECRET).verify(InternalTokens(SECRET).sign())
    InternalTokens(SECRET).verify(signed())


def test_token_is_made_once_for_many_calls() -> None:
    tokens = InternalTokens(SECRET)
    assert tokens.sign() == tokens.sign()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "forged",
        signed(secret="another secret, also thirty-two characters long"),
        signed(aud="swarmstate"),
        signed(aud=None),
        signed(exp=int(time.time()) - 60),
        signed(exp=None),
        signed(iat=None),
        signed(algorithm="HS512"),
        signed(secret="", algorithm="none"),
    ],
    ids=[
        "nothing",
        "no token",
        "another secret",
        "a user's audience",
        "no audience",
        "expired",
        "for ever",
        "undated",
        "another algorithm",
        "unsigned",
    ],
)
def test_any_other_token_does_not(token: str) -> None:
    with pytest.raises(NotAServer):
        InternalTokens(SECRET).verify(token)
